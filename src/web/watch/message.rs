//! The state in words: what is waited for, and what to do.

use super::status::{Level, Message, Player, Status};
use crate::vod::replica::Stage;
use std::time::Duration;

/// Time in which nothing arrives, after which it is worth a word.
pub(super) const SILENCE: Duration = Duration::from_secs(4);

/// What the numbers of a [`Status`] do not have.
pub(super) struct Facts<'a> {
    pub(super) stage: Stage,
    /// How long nothing has arrived.
    pub(super) idle: Duration,
    /// Why the fetch has failed.
    pub(super) failure: Option<&'a str>,
    /// A web server is read for what nobody sends.
    pub(super) reads_origin: bool,
    /// Why nothing arrives.
    pub(super) reasons: Vec<String>,
}

pub(super) fn message(status: &Status, facts: Facts<'_>) -> Message {
    let mut message = words(status, &facts);
    if message.level == Level::Waiting && facts.idle >= SILENCE {
        message.details = facts.reasons;
    }
    message
}

fn words(status: &Status, facts: &Facts<'_>) -> Message {
    use Level::{Error, Fine, Waiting, Warning};
    let (neighbors, provider) = (status.network.neighbors, status.network.provider);
    let is_silent = facts.idle >= SILENCE;
    if let Some(failure) = facts.failure {
        return Message::new(Error, failure.to_owned());
    }
    if let Player::None { reason } = &status.film.player {
        let text = format!(
            "The browser cannot play this film: {reason}. Open its address in ffplay, mpv or VLC."
        );
        return Message::new(Warning, text);
    }
    let place = status.waits_at.map(|at| place(status, at)).unwrap_or_default();
    let (level, text) = match facts.stage {
        Stage::Descriptor if facts.reads_origin => {
            (Waiting, "Asking the web server what it has".into())
        }
        Stage::Descriptor if neighbors == 0 && is_silent => (
            Waiting,
            "Nobody who has the film has been reached yet. It begins by itself when somebody is; \
             ask the one who sent the link whether the film is still shared."
                .into(),
        ),
        Stage::Descriptor if neighbors == 0 => (Waiting, "Looking for those who have the film".into()),
        Stage::Descriptor => (Waiting, "Asking for the description of the film".into()),
        Stage::Opening => (Waiting, "Checking what is here already".into()),
        Stage::Complete => (Fine, "The whole film is here.".into()),
        Stage::Finishing => (Fine, "The film is here; it is being checked as a whole.".into()),
        Stage::Chunks if status.waits_at.is_some() && is_silent && facts.reads_origin => (
            Waiting,
            format!(
                "Neither the web server nor anybody else has sent the part {place} for a while. The \
                 marked parts of the bar can be played; the rest goes on by itself."
            ),
        ),
        Stage::Chunks if status.waits_at.is_some() && is_silent && neighbors == 0 => (
            Waiting,
            format!(
                "Nobody is connected who could send the part {place}. The marked parts of the bar can \
                 be played; the rest goes on by itself when somebody comes."
            ),
        ),
        Stage::Chunks if status.waits_at.is_some() && is_silent => (
            Waiting,
            format!(
                "Nobody who is connected has sent the part {place} for a while{}. The marked parts of \
                 the bar can be played; it goes on by itself when somebody who has it comes.",
                if provider == Some(false) { ", and the provider has left" } else { "" }
            ),
        ),
        Stage::Chunks if status.waits_at.is_some() => {
            (Waiting, format!("Fetching the part {place}"))
        }
        Stage::Chunks if neighbors == 0 && facts.reads_origin => {
            (Fine, "Nobody else is here: the film comes from the web server.".into())
        }
        Stage::Chunks if neighbors == 0 => (
            Warning,
            "Nobody is connected. The marked parts of the bar can be played; the rest arrives when \
             somebody comes."
                .into(),
        ),
        Stage::Chunks if provider == Some(false) && !facts.reads_origin => (
            Warning,
            "The provider has left. What the others hold goes on arriving from them.".into(),
        ),
        _ => (Fine, String::new()),
    };
    Message::new(level, text)
}

/// About where in the film a position in the file is.
fn place(status: &Status, at: u64) -> String {
    let share = status.film.size.filter(|size| *size > 0).map(|size| at as f64 / size as f64);
    match (status.film.duration, share) {
        _ if at == 0 => "at the beginning".into(),
        (Some(duration), Some(share)) => {
            let seconds = (duration * share) as u64;
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            match hours {
                0 => format!("near {minutes}:{seconds:02}"),
                _ => format!("near {hours}:{minutes:02}:{seconds:02}"),
            }
        }
        _ => format!("at byte {at}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stage: Stage, seconds: u64, change: impl FnOnce(&mut Status)) -> Message {
        let mut status = Status::default();
        status.film.size = Some(1000);
        status.film.duration = Some(7200.0);
        change(&mut status);
        let reasons = vec!["reason".to_owned()];
        let idle = Duration::from_secs(seconds);
        let reads_origin = status.traffic.from_origin > 0;
        message(&status, Facts { stage, idle, failure: None, reads_origin, reasons })
    }

    #[test]
    fn nobody_is_needed_where_a_web_server_is_read() {
        let alone = said(Stage::Chunks, 0, |status| status.traffic.from_origin = 1);
        assert_eq!(alone.level, Level::Fine);
        assert!(alone.text.contains("web server"), "{}", alone.text);
        let silent = said(Stage::Chunks, 10, |status| {
            (status.traffic.from_origin, status.waits_at) = (1, Some(0));
        });
        assert_eq!((silent.level, silent.details.len()), (Level::Waiting, 1));
        assert!(silent.text.contains("Neither the web server"), "{}", silent.text);
    }

    #[test]
    fn what_is_missing_is_named_by_its_time() {
        let found = said(Stage::Chunks, 10, |status| {
            (status.waits_at, status.network.neighbors) = (Some(500), 3);
            status.network.provider = Some(false);
        });
        assert_eq!(found.level, Level::Waiting);
        assert!(found.text.contains("near 1:00:00") && found.text.contains("provider has left"));
        assert_eq!(found.details, ["reason"]);
        let alone = said(Stage::Chunks, 10, |status| status.waits_at = Some(0));
        assert!(alone.text.contains("Nobody is connected") && alone.text.contains("beginning"));
    }

    #[test]
    fn a_film_that_arrives_is_fine() {
        let fine = said(Stage::Chunks, 0, |status| status.network.neighbors = 1);
        assert_eq!(fine, Message::default());
        let left = said(Stage::Chunks, 0, |status| {
            (status.network.neighbors, status.network.provider) = (1, Some(false));
        });
        assert_eq!(left.level, Level::Warning);
        assert_eq!(said(Stage::Complete, 100, |_| {}).level, Level::Fine);
    }

    #[test]
    fn what_cannot_be_played_is_for_other_players() {
        let found = said(Stage::Chunks, 0, |status| {
            status.film.player = Player::None { reason: "its pictures are odd".into() };
        });
        assert!(found.text.contains("odd") && found.text.contains("VLC"), "{}", found.text);
    }
}
