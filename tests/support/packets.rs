//! Contents of packets, made by hand and read.

use rtmfp::proto::crypto::Opener;
use rtmfp::wire::chunk::{FragmentControl, OPTION_METADATA, UserData, UserDataFlags};
use rtmfp::wire::option::encode_option;
use rtmfp::wire::{Mode, PacketHeader};

/// An encoded option list with metadata.
pub fn metadata(value: &[u8]) -> Vec<u8> {
    let mut options = Vec::new();
    encode_option(OPTION_METADATA, value, &mut options);
    options.push(0);
    options
}

/// A whole message as one fragment, nothing given up.
pub fn fragment<'a>(flow: u64, sequence: u64, options: &'a [u8], data: &'a [u8]) -> UserData<'a> {
    UserData {
        flags: flags(FragmentControl::Whole),
        flow,
        sequence,
        fsn_offset: sequence,
        options: (!options.is_empty()).then_some(options),
        data,
    }
}

/// Flags of a fragment that is neither given up nor the last.
pub const fn flags(fragment: FragmentControl) -> UserDataFlags {
    UserDataFlags { fragment, abandon: false, last: false, reserved: 0 }
}

/// The plain packet of a startup datagram.
pub fn open_default(datagram: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = datagram.to_vec();
    let plain = Opener::default_key().open(bytes.get_mut(4..)?).ok()?.to_vec();
    let (header, _) = PacketHeader::parse(&plain).ok()?;
    (header.mode == Mode::Startup).then_some(plain)
}
