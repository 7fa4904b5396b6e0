//! `rtmfp stream`: publish and play the streams of a group, of peers or of a server, as FLV.
//!
//! | file | what |
//! | --- | --- |
//! | `publish`, `play` | the verbs |
//! | `pace` | the time at which each tag of a file is due |
//! | `place` | where a stream is: in a group, at a peer, at the server |
//! | `site` | the connection and the group that both verbs use |
//! | `output` | events for people and programs |

mod output;
mod pace;
mod place;
mod play;
mod publish;
mod site;

use clap::Subcommand;

/// Publish a live stream in a group, to peers or at a server, or play one.
///
/// Members of a group pass its streams on to each other: the publisher sends a few copies, however
/// many watch. Peers that play from each other directly get a copy each. Streams are FLV, which ffmpeg, OBS and most players read and write.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  G=$(rtmfp groupspec new tv --multicast --server-channel)
  ffmpeg -re -i film.mp4 -c:v libx264 -c:a aac -f flv - |
      rtmfp stream publish $G news - --via rtmfp://rendezvous.example/tv
  rtmfp stream play $G news -o - --via rtmfp://rendezvous.example/tv | ffplay -

  rtmfp stream publish peers cam cam.flv --via rtmfp://rendezvous.example/tv   # prints PEERID
  rtmfp stream play PEERID cam -o - --via rtmfp://rendezvous.example/tv | ffplay -")]
pub(crate) enum StreamVerb {
    Publish(publish::PublishArgs),
    Play(play::PlayArgs),
}

pub(crate) async fn run(verb: StreamVerb) -> anyhow::Result<()> {
    match verb {
        StreamVerb::Publish(args) => publish::run(args).await,
        StreamVerb::Play(args) => play::run(args).await,
    }
}
