//! Properties of every controller.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

const CONTROLLERS: [Controller; 2] = [Controller::AppendixA, Controller::Bbr];

#[test]
fn names() {
    for controller in CONTROLLERS {
        assert_eq!(controller.to_string().parse(), Ok(controller));
    }
    assert_eq!(Controller::default().to_string(), "bbr");
    assert_eq!("bbr".parse(), Ok(Controller::Bbr));
    assert_eq!("cubic".parse::<Controller>(), Err(UnknownController));
}

/// A server holds a hundred thousand sessions that hardly ever send.
#[test]
fn a_session_that_does_not_send_is_small() {
    assert!(size_of::<AppendixA>() <= 40);
    assert!(size_of::<Bbr>() <= 16);
    assert!(size_of::<Pacer>() <= 16);
}

#[derive(Debug, Clone)]
enum Input {
    Sent(SentPacket),
    Report(AckReport),
    Timeout(u64),
    AppLimited(u64),
}

/// Anything at all, with small numbers as likely as large ones.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..100, 0u64..10_000_000, any::<u64>(), Just(u64::MAX)]
}

fn sent() -> impl Strategy<Value = Input> {
    (number(), number(), number(), number()).prop_map(|(now, tsn, bytes, outstanding_before)| {
        Input::Sent(SentPacket { now: Time::from_micros(now), tsn, bytes, outstanding_before })
    })
}

fn report() -> impl Strategy<Value = Input> {
    let tsns = (proptest::option::of(number()), proptest::option::of(number()), number(), number());
    (proptest::array::uniform5(number()), tsns, any::<[bool; 6]>()).prop_map(|(n, tsns, flags)| {
        Input::Report(AckReport {
            now: Time::from_micros(n[0]),
            outstanding_before: n[1],
            outstanding: n[2],
            acked_bytes: n[3],
            lost_bytes: n[4],
            newest_acked: tsns.0,
            newest_lost: tsns.1,
            first_tsn: tsns.2,
            next_tsn: tsns.3,
            waited: tsns.0.map(Duration::from_micros),
            any_acks: flags[0],
            any_naks: flags[1],
            any_loss: flags[2],
            ecn_congestion: flags[3],
            fast_grow: flags[4],
            time_critical_sent: flags[5],
        })
    })
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => sent(),
        4 => report(),
        1 => number().prop_map(Input::Timeout),
        1 => number().prop_map(Input::AppLimited),
    ]
}

fn feed(congestion: &mut dyn Congestion, input: &Input) {
    match input {
        Input::Sent(packet) => congestion.on_sent(packet),
        Input::Report(report) => congestion.on_packet(report),
        Input::Timeout(lost) => congestion.on_timeout(*lost),
        Input::AppLimited(outstanding) => congestion.on_app_limited(*outstanding),
    }
}

proptest! {
    #[test]
    fn hostile_reports_leave_a_window_and_a_rate(
        segment in number(),
        inputs in proptest::collection::vec(input(), 0..60),
    ) {
        for controller in CONTROLLERS {
            let mut congestion = controller.start(segment);
            let mut pacer = Pacer::default();
            for input in &inputs {
                feed(&mut *congestion, input);
                prop_assert!(congestion.window() > 0);
                prop_assert_ne!(congestion.pacing_rate(), Some(0));
                if let (Some(rate), Input::Sent(packet)) = (congestion.pacing_rate(), input) {
                    pacer.on_sent(packet.now, packet.bytes, rate);
                    pacer.hold(packet.now, rate, congestion.burst());
                }
            }
        }
    }

    /// The same with reports that could be: the clock and the counters go forward.
    #[test]
    fn any_path_leaves_a_window_of_some_segments(
        steps in proptest::collection::vec((1u64..20_000, 0u64..6, 0u64..4, any::<bool>()), 0..200),
    ) {
        let mut bbr = Controller::Bbr.start(1200);
        let (mut now, mut next, mut first, mut outstanding) = (Time::from_millis(1), 1, 1, 0);
        for (micros, send, lose, ack) in steps {
            now += Duration::from_micros(micros);
            for _ in 0..send {
                let packet = SentPacket { now, tsn: next, bytes: 1200, outstanding_before: outstanding };
                bbr.on_sent(&packet);
                next += 1;
                outstanding += 1200;
            }
            if !ack || next == first {
                continue;
            }
            let before = outstanding;
            let lost = lose.min(next - 1 - first);
            let acked = (next - first - lost).div_ceil(2);
            first += lost + acked;
            outstanding -= (lost + acked) * 1200;
            bbr.on_packet(&AckReport {
                now,
                outstanding_before: before,
                outstanding,
                acked_bytes: acked * 1200,
                lost_bytes: lost * 1200,
                newest_acked: Some(first - 1),
                first_tsn: first,
                next_tsn: next,
                any_acks: true,
                ..AckReport::default()
            });
            prop_assert!(bbr.window() >= 2400, "{}", bbr.window());
            prop_assert!(bbr.window() < 100_000_000, "{}", bbr.window());
        }
    }
}
