#![no_main]
//! Object 0 of a share from a stranger: its digest is over what is read, and no path of its list of files
//! leaves the folder or meets another.

use libfuzzer_sys::fuzz_target;
use rtmfp::amf;
use rtmfp::vod::{Descriptor, DescriptorForm};
use std::collections::HashSet;
use std::path::Component;

fuzz_target!(|data: &[u8]| {
    let Ok(value) = amf::from_bytes(data.to_vec()) else { return };
    let Ok((descriptor, form)) = Descriptor::from_value(&value) else { return };
    let (again, _) =
        Descriptor::from_value(&descriptor.to_value(form)).expect("what was read is valid");
    assert!(form == DescriptorForm::Number || again.digest() == descriptor.digest());
    let Some(files) = descriptor.files else { return };
    let mut taken = HashSet::new();
    for path in files.safe_paths() {
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
        assert!(taken.insert(path.to_string_lossy().to_lowercase()));
    }
});
