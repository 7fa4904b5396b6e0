//! stub
use crate::Common;
use crate::keylog::KeyLog;
use crate::report::Report;
use clap::Args;
#[derive(Debug, Args)]
pub(crate) struct Lossy {}
impl Lossy {
    pub(crate) async fn run(&self, _: &Common, _: &KeyLog) -> anyhow::Result<Report> {
        anyhow::bail!("not yet")
    }
}
