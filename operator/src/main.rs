//! The operator as a program: see `mysql_operator` for what it does.

use std::process::ExitCode;

use clap::Parser as _;
use mysql_operator::arguments::Arguments;

fn main() -> ExitCode {
    Arguments::parse().run()
}
