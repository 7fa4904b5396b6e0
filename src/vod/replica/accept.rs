//! What is accepted as object 0.

use super::fault::Fault;
use crate::amf::Value;
use crate::vod::descriptor::{Descriptor, DescriptorForm};
use crate::vod::layout::Layout;
use crate::vod::link::Integrity;

/// Checks object 0 against the link. Returns the descriptor to use, and object 0 to serve to
/// others.
pub(super) fn checked_descriptor(
    object: &Value,
    integrity: &Integrity,
) -> Result<(Descriptor, Value), Fault> {
    let (descriptor, _) = Descriptor::from_value(object)?;
    match *integrity {
        // Nothing can be verified: the object is served as it arrived.
        Integrity::None => Ok((descriptor, object.clone())),
        Integrity::Descriptor(digest) if descriptor.digest() != digest => {
            Err(Fault::ForgedDescriptor)
        }
        // Only the members that the digest covers are served.
        Integrity::Descriptor(_) => {
            let served = descriptor.to_value(DescriptorForm::Object);
            Ok((descriptor, served))
        }
        Integrity::File { sha256, size, chunk_size } => {
            let layout = Layout::of_size(size, chunk_size)?;
            if descriptor.chunks() != layout.chunks() {
                return Err(Fault::ForgedDescriptor);
            }
            // The other members cannot be verified.
            let stated = Descriptor { sha256: Some(sha256), ..Descriptor::of_layout(layout) };
            let served = stated.to_value(DescriptorForm::Number);
            Ok((stated, served))
        }
    }
}
