//! Fragmented MP4, as the `SourceBuffer` of a browser takes it (ISO/IEC 14496-12, W3C Media Source
//! Extensions, byte stream format of ISO BMFF).
//!
//! An initialization segment describes the tracks; fragments follow, each with some samples of them.
//! Nothing is encoded anew: H.264 and AAC are in FLV as they are in MP4, and MP3 can be.
//!
//! ```text
//! FLV tags ──▶ TrackFinder ──▶ Tracks ──▶ initialization segment
//!         └──────────────────────▶ Remuxer ──▶ fragments
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `finder` | [`TrackFinder`]: the tracks of an FLV |
//! | `remuxer` | [`Remuxer`]: its samples |
//! | `codec` | the configurations of decoders |
//! | `sps` | width and height in a sequence parameter set of H.264 |
//! | `init`, `fragment`, `boxes` | the boxes of MP4 |

mod boxes;
mod codec;
mod finder;
mod fragment;
mod init;
mod remuxer;
mod sps;
#[cfg(test)]
mod tests;

pub use codec::{AacConfig, AudioConfig, AvcConfig, Mp3Config};
pub use finder::{NotRemuxable, TrackFinder, Tracks};
pub use remuxer::Remuxer;

/// The ID of the video track, whose timescale is that of FLV: milliseconds.
const VIDEO: u32 = 1;
/// The ID of the audio track, whose timescale is the sample rate.
const AUDIO: u32 = 2;
/// Units of time a second, of the video and the film.
const MILLISECONDS: u32 = 1000;
