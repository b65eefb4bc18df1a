//! fb303: what Facebook's services answer about themselves, and scribe_ctrl asks.
//!
//! [`answer`] serves every method of fb303.thrift from the answers that [`Fb303`] gives, through
//! the generated code. Arguments are first walked by our own bounded parser, so the generated
//! one never meets bytes that are not a small, well-formed struct.
//!
//! Unknown methods, bad arguments and messages that are no calls are answered with the
//! exception that libthrift's processors use. `reinitialize` and `shutdown` have no reply.

use std::collections::BTreeMap;

use ::thrift::TConfiguration;
use ::thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol, TInputProtocol, TOutputProtocol};

pub use super::r#gen::fb303::FbStatus;
use super::r#gen::fb303::{FacebookServiceSyncHandler, TFacebookServiceProcessFunctions as Functions};
use super::scribe::{ExceptionKind, Form, Header, MessageKind, framed, reply_exception};
use super::thrift::{Cursor, kind};

/// Longest arguments read: an option or a counter's name, with room to spare.
pub const ARGUMENTS_BYTES_MAX: usize = 64 << 10;

/// Depth of unknown structs in arguments; they have none.
const DEPTH_MAX: usize = 16;

/// The answers. All must be cheap: they are given on the connection's own task.
pub trait Fb303 {
    fn name(&self) -> String;
    fn version(&self) -> String;
    fn status(&self) -> FbStatus;
    fn status_details(&self) -> String;
    fn counters(&self) -> BTreeMap<String, i64>;
    /// 0 for a counter that is not known, as in the reference implementation.
    fn counter(&self, key: &str) -> i64;
    fn set_option(&self, key: &str, value: &str);
    /// Empty for an option that is not known.
    fn option(&self, key: &str) -> String;
    fn options(&self) -> BTreeMap<String, String>;
    /// `seconds` may be anything; the reference implementation answers "".
    fn cpu_profile(&self, seconds: i32) -> String;
    /// Seconds since the epoch.
    fn alive_since(&self) -> i64;
    fn reinitialize(&self);
    fn shutdown(&self);
}

type Method<'a> = fn(&Adapter<'a>, i32, &mut dyn TInputProtocol, &mut dyn TOutputProtocol) -> ::thrift::Result<()>;

fn method(name: &[u8]) -> Option<Method<'_>> {
    Some(match name {
        b"getName" => Functions::process_get_name,
        b"getVersion" => Functions::process_get_version,
        b"getStatus" => Functions::process_get_status,
        b"getStatusDetails" => Functions::process_get_status_details,
        b"getCounters" => Functions::process_get_counters,
        b"getCounter" => Functions::process_get_counter,
        b"setOption" => Functions::process_set_option,
        b"getOption" => Functions::process_get_option,
        b"getOptions" => Functions::process_get_options,
        b"getCpuProfile" => Functions::process_get_cpu_profile,
        b"aliveSince" => Functions::process_alive_since,
        b"reinitialize" => Functions::process_reinitialize,
        b"shutdown" => Functions::process_shutdown,
        _ => return None,
    })
}

/// Whether fb303 has a method of this name.
pub fn is_method(name: &[u8]) -> bool {
    method(name).is_some()
}

/// Appends the answer to a message that is no `Log` call as a frame, or nothing where no
/// answer is expected. `arguments` is the payload behind the header.
pub fn answer(header: &Header<'_>, arguments: &[u8], answers: &dyn Fb303, out: &mut Vec<u8>) {
    let start = out.len();
    match (header.kind, method(header.name)) {
        (MessageKind::Call | MessageKind::Oneway, Some(method)) => {
            if let Err(message) = call(method, header, arguments, answers, out) {
                out.truncate(start);
                reply_exception(header, ExceptionKind::ProtocolError, &message, out);
            } else if matches!(header.name, b"reinitialize" | b"shutdown") {
                out.truncate(start);
            }
        }
        (MessageKind::Call | MessageKind::Oneway, None) => {
            let message = format!("Invalid method name: '{}'", header.method());
            reply_exception(header, ExceptionKind::UnknownMethod, &message, out);
        }
        (MessageKind::Reply | MessageKind::Exception, _) => {
            reply_exception(header, ExceptionKind::InvalidMessageType, "expected a call", out);
        }
    }
    if header.kind == MessageKind::Oneway {
        out.truncate(start);
    }
}

fn call<'a>(
    method: Method<'a>,
    header: &Header<'_>,
    arguments: &[u8],
    answers: &'a dyn Fb303,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    if arguments.len() > ARGUMENTS_BYTES_MAX {
        return Err(format!("arguments of {} bytes, at most {ARGUMENTS_BYTES_MAX} are read", arguments.len()));
    }
    Cursor::new(arguments).skip(kind::STRUCT, DEPTH_MAX).map_err(|error| error.to_string())?;
    let limits = TConfiguration::builder()
        .max_frame_size(None)
        .max_message_size(Some(ARGUMENTS_BYTES_MAX))
        .max_string_size(Some(ARGUMENTS_BYTES_MAX))
        .max_container_size(Some(ARGUMENTS_BYTES_MAX))
        .max_recursion_depth(Some(DEPTH_MAX))
        .build()
        .map_err(|error| error.to_string())?;
    let mut input = TBinaryInputProtocol::with_config(arguments, false, limits);
    framed(out, |out| {
        let mut output = TBinaryOutputProtocol::new(out, header.form == Form::Strict);
        method(&Adapter(answers), header.seqid, &mut input, &mut output)
    })
    .map_err(|error| error.to_string())
}

/// [`Fb303`] as the generated code wants it.
struct Adapter<'a>(&'a dyn Fb303);

impl FacebookServiceSyncHandler for Adapter<'_> {
    fn handle_get_name(&self) -> ::thrift::Result<String> {
        Ok(self.0.name())
    }

    fn handle_get_version(&self) -> ::thrift::Result<String> {
        Ok(self.0.version())
    }

    fn handle_get_status(&self) -> ::thrift::Result<FbStatus> {
        Ok(self.0.status())
    }

    fn handle_get_status_details(&self) -> ::thrift::Result<String> {
        Ok(self.0.status_details())
    }

    fn handle_get_counters(&self) -> ::thrift::Result<BTreeMap<String, i64>> {
        Ok(self.0.counters())
    }

    fn handle_get_counter(&self, key: String) -> ::thrift::Result<i64> {
        Ok(self.0.counter(&key))
    }

    fn handle_set_option(&self, key: String, value: String) -> ::thrift::Result<()> {
        self.0.set_option(&key, &value);
        Ok(())
    }

    fn handle_get_option(&self, key: String) -> ::thrift::Result<String> {
        Ok(self.0.option(&key))
    }

    fn handle_get_options(&self) -> ::thrift::Result<BTreeMap<String, String>> {
        Ok(self.0.options())
    }

    fn handle_get_cpu_profile(&self, seconds: i32) -> ::thrift::Result<String> {
        Ok(self.0.cpu_profile(seconds))
    }

    fn handle_alive_since(&self) -> ::thrift::Result<i64> {
        Ok(self.0.alive_since())
    }

    fn handle_reinitialize(&self) -> ::thrift::Result<()> {
        self.0.reinitialize();
        Ok(())
    }

    fn handle_shutdown(&self) -> ::thrift::Result<()> {
        self.0.shutdown();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
