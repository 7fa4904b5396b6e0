//! Some chunks of a share.

use super::pages::{CHUNKS, PAGES, data, large, page};
use super::*;

fn selective(integrity: Integrity, object: Value) -> Member {
    let replica = Replica::receiver(integrity, Some(PROVIDER)).selective();
    let mut member = Member::new(replica, Box::new(MemoryStore::new(Layout::empty())));
    member.fetched(0, object, PROVIDER);
    member.take_group_actions();
    member
}

#[test]
fn only_what_is_selected_is_wanted() {
    let mut member = selective(by_descriptor(), object_form());
    assert!(member.replica.has_selection(), "nothing was selected yet");
    member.replica.select(2..=3);
    member.replica.select(5..=5);
    member.work();
    let actions = member.take_group_actions();
    assert!(actions.contains(&AddWant(2..=3)) && actions.contains(&AddWant(5..=5)), "{actions:?}");
    assert!(!actions.iter().any(|it| matches!(it, AddWant(range) if range.contains(&1))));
    assert_eq!(
        (1..=5).map(|it| member.replica.first_missing(it)).collect::<Vec<_>>(),
        [Some(2), Some(2), Some(3), Some(5), Some(5)]
    );
    member.fetched_chunks(&[2, 5], 'a');
    assert_eq!((member.replica.has_selection(), member.replica.selected()), (false, Some((3, 2))));
    member.fetched_chunks(&[3], 'a');
    assert!(member.replica.has_selection() && member.replica.first_missing(1).is_none());
    // It is never complete, also if it holds everything.
    member.replica.select(1..=5);
    member.fetched_chunks(&[1, 4], 'a');
    assert!(member.replica.has_selection());
    assert_eq!((member.replica.stage(), member.completed), (Stage::Chunks, None));
    assert_eq!(member.answer(2), Some(bytes(&chunk(2))), "it is served");
}

#[test]
fn of_a_large_file_the_pages_of_the_selection_are_wanted() {
    let object = large().to_value(DescriptorForm::Object);
    let mut member = selective(Integrity::Descriptor(large().digest()), object);
    member.replica.select(CHUNKS - 5..=CHUNKS);
    member.work();
    assert_eq!(member.take_group_actions(), [AddWant(PAGES[2]..=PAGES[2])]);
    member.fetched(PAGES[2], page(PAGES[2]), 'a');
    let have = AddHave(PAGES[2]..=PAGES[2]);
    assert_eq!(member.take_group_actions(), [have, AddWant(CHUNKS - 5..=CHUNKS)]);
    (CHUNKS - 5..=CHUNKS).for_each(|index| member.fetched(index, bytes(&data(index)), 'a'));
    assert!(member.replica.has_selection());
}
