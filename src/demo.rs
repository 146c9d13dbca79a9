//! (being written)
#[derive(clap::Args)]
pub struct DemoOptions {}
pub async fn run(_options: DemoOptions) -> anyhow::Result<()> {
    Ok(())
}
