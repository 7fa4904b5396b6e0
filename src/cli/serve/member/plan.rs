//! [`Plan`]: the groups of the settings, and what the member does in each.

use crate::cli::outcome::WrongUsage;
use anyhow::ensure;
use rtmfp::GroupSpec;
use rtmfp::peer::GroupId;
use rtmfp::server::{Ingest, Settings};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The most groups of a member: as many as the server's clients may join by default.
pub(super) const MAX_GROUPS: usize = 256;

/// The most streams that go into groups, each over a session of its own.
pub(super) const MAX_INGESTS: usize = 64;

/// What a member does.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) groups: Vec<Planned>,
    pub(super) seed: Option<PathBuf>,
}

/// One of its groups.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) spec: GroupSpec,
    /// Files are offered here, and not only objects as they are.
    pub(super) offers_files: bool,
    pub(super) ingest: Vec<Ingest>,
}

impl Plan {
    /// What the settings want.
    ///
    /// # Errors
    ///
    /// A group in which nobody is met, or which does not have what is wanted of it.
    pub(super) fn of(settings: &Settings) -> anyhow::Result<Self> {
        let member = &settings.member;
        let mut groups: BTreeMap<GroupId, Planned> = BTreeMap::new();
        for (at, spec) in member.groups.iter().enumerate() {
            check(spec, &format!("group {} of the member", at + 1))?;
            add(&mut groups, spec);
        }
        ensure!(
            member.ingest.is_empty() || settings.streams.enabled,
            WrongUsage("streams cannot go into groups where the server relays none".into())
        );
        for ingest in &member.ingest {
            let what = format!("the group of {}", ingest.name);
            check(&ingest.group, &what)?;
            ensure!(
                ingest.group.multicast_enabled() && ingest.group.may_publish(),
                WrongUsage(format!(
                    "{what} takes no streams of this member: its groupspec does not enable multicast, \
                     or lacks the publish password that it wants"
                ))
            );
            let planned = add(&mut groups, &ingest.group);
            planned.offers_files = false;
            planned.ingest.push(ingest.clone());
        }
        if member.seed.is_some() {
            let has_objects = |it: &Planned| it.spec.object_replication_enabled();
            ensure!(
                groups.values().any(has_objects),
                WrongUsage(
                    "a folder is offered to groups whose groupspecs enable object replication, of \
                     which the member has none"
                        .into()
                )
            );
        }
        let too_many = groups.len() > MAX_GROUPS || member.ingest.len() > MAX_INGESTS;
        ensure!(
            !too_many,
            WrongUsage(format!(
                "a member has at most {MAX_GROUPS} groups, and {MAX_INGESTS} streams for them"
            ))
        );
        Ok(Self { groups: groups.into_values().collect(), seed: member.seed.clone() })
    }
}

/// The group, which may have been named before with fewer authorizations.
fn add<'a>(groups: &'a mut BTreeMap<GroupId, Planned>, spec: &GroupSpec) -> &'a mut Planned {
    let planned = groups.entry(spec.group_id()).or_insert_with(|| Planned {
        spec: spec.clone(),
        offers_files: true,
        ingest: Vec::new(),
    });
    if spec.may_publish() && !planned.spec.may_publish() {
        planned.spec = spec.clone();
    }
    planned
}

/// Refuses a group in which nobody is met. The groupspec is not shown.
fn check(spec: &GroupSpec, what: &str) -> anyhow::Result<()> {
    ensure!(
        !spec.peer_to_peer_disabled(),
        WrongUsage(format!(
            "{what} forbids connections among members (peerToPeerDisabled): there is nobody to meet"
        ))
    );
    ensure!(
        spec.server_channel_enabled() || !spec.bootstrap_peers().is_empty(),
        WrongUsage(format!(
            "members of {what} cannot find each other through a server: its groupspec does not enable \
             the server channel (serverChannelEnabled; rtmfp groupspec new … --server-channel)"
        ))
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmfp::GroupSpecBuilder;

    fn builder(name: &str) -> GroupSpecBuilder {
        GroupSpecBuilder::new(name).unwrap().server_channel(true)
    }

    fn plan(settings: &str) -> Result<Plan, String> {
        let mut all = Settings::default();
        all.apply(settings).unwrap();
        Plan::of(&all).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_is_refused_at_the_start() {
        let plain = GroupSpecBuilder::new("a").unwrap().build().unwrap();
        let posting = builder("a").posting(true).build().unwrap();
        let (plain, posting) = (plain.as_str(), posting.as_str());
        for (settings, expected) in [
            (format!("groups = [\"{plain}\"]"), "group 1 of the member cannot find"),
            (format!("ingest = [\"live/cam={posting}\"]"), "the group of cam takes no streams"),
            (format!("groups = [\"{posting}\"]\nseed = \"x\""), "of which the member has none"),
        ] {
            let error = plan(&format!("[member]\n{settings}")).unwrap_err();
            assert!(error.contains(expected), "{settings}\n{error}");
        }
        let tv = builder("tv").multicast(true).build().unwrap();
        let off = format!(
            "[streams]\nenabled = false\n[member]\ningest = [\"live/cam={}\"]",
            tv.as_str()
        );
        assert!(plan(&off).unwrap_err().contains("relays none"));
        assert!(plan("").unwrap().groups.is_empty());
    }

    #[test]
    fn a_group_that_is_named_twice_is_joined_once() {
        let tv = builder("tv").multicast(true).object_replication(true).build().unwrap();
        let tv = tv.as_str();
        let settings = format!(
            "[member]\ngroups = [\"{tv}\", \"{tv}\"]\ningest = [\"live/a={tv}\", \"live/b={tv}\"]"
        );
        let plan = plan(&settings).unwrap();
        let [planned] = &plan.groups[..] else { panic!("{plan:?}") };
        assert_eq!((planned.ingest.len(), planned.offers_files), (2, false));
    }
}
