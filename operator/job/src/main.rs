//! The program that Jobs and init containers run: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    mysql_job::run(std::env::args().skip(1))
}
