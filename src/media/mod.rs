//! Containers of media: nothing of any protocol.
//!
//! | part | subject |
//! | --- | --- |
//! | [`flv`] | FLV: tags in and out, what is in them |
//! | [`fmp4`] | fragmented MP4, as a browser takes it piece by piece, made from FLV |
//! | [`probe`] | container, duration and mean bit rate of a file |

pub mod flv;
pub mod fmp4;
pub mod probe;
