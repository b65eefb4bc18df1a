//! gRPC's framing of a body: before each message whether it is compressed, and its length
//! (gRPC over HTTP/2, "Length-Prefixed-Message"). A unary call has one message.

use bytes::Bytes;

pub const PREFIX_BYTES: usize = 5;

#[derive(Debug)]
pub struct Message {
    pub compressed: bool,
    pub bytes: Bytes,
}

/// Takes a body for its one message; the error says what is wrong with its frame.
pub fn message(mut body: Bytes) -> Result<Message, &'static str> {
    let Some((&[flag, a, b, c, d], rest)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(if body.is_empty() { "no message" } else { "a message cut in its prefix" });
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    match (flag, rest.len()) {
        (2.., _) => Err("a compressed flag above 1"),
        (_, found) if found < length => Err("a message shorter than its prefix says"),
        (_, found) if found > length => Err("more than one message"),
        (flag, _) => Ok(Message { compressed: flag == 1, bytes: body.split_off(PREFIX_BYTES) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_message_or_its_fault_is_named() {
        let read = |body: &[u8]| match message(Bytes::copy_from_slice(body)) {
            Ok(Message { compressed, bytes }) => Ok((compressed, bytes.to_vec())),
            Err(what) => Err(what),
        };
        assert_eq!(read(&[0, 0, 0, 0, 0]), Ok((false, vec![])));
        assert_eq!(read(&[1, 0, 0, 0, 2, 8, 9]), Ok((true, vec![8, 9])));
        for (body, told) in [
            (&[][..], "no message"),
            (&[0, 0, 0, 0], "cut in its prefix"),
            (&[2, 0, 0, 0, 0], "flag above 1"),
            (&[0, 0, 0, 0, 2, 8], "shorter"),
            (&[0, 255, 255, 255, 255, 8], "shorter"),
            (&[0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0], "more than one message"),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
