//! The program: arguments and environment in, exit code out.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    spangate::cli::main(std::env::args_os(), std::env::vars_os())
}
