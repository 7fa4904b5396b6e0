//! The chunks of session startup, and packet fragments.

use crate::wire::{Address, Reason, WireError, vlu};

/// Packet Fragment (§2.3.1): a piece of a plain packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketFragment<'a> {
    /// More fragments of this packet follow.
    pub more: bool,
    /// The seven reserved bits as received; send zero.
    pub reserved: u8,
    /// Which packet.
    pub packet_id: u64,
    /// Index of this fragment, from 0.
    pub number: u64,
    /// A piece of the plain packet; an empty one must be discarded.
    pub data: &'a [u8],
}

impl<'a> PacketFragment<'a> {
    /// Reads the payload.
    pub fn parse(input: &'a [u8]) -> Result<Self, WireError> {
        let (&flags, rest) = input.split_first().ok_or(truncated("fragment.flags", 0))?;
        let (packet_id, rest) = field(input, rest, "fragment.packetID")?;
        let (number, data) = field(input, rest, "fragment.fragmentNum")?;
        if data.is_empty() {
            return Err(truncated("fragment.packetFragment", input.len()));
        }
        Ok(Self { more: flags & 0x80 != 0, reserved: flags & 0x7f, packet_id, number, data })
    }

    /// Bytes of the payload.
    pub const fn encoded_len(&self) -> usize {
        1 + vlu::encoded_len(self.packet_id) + vlu::encoded_len(self.number) + self.data.len()
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(if self.more { 0x80 } else { 0 } | self.reserved & 0x7f);
        vlu::encode(self.packet_id, out);
        vlu::encode(self.number, out);
        out.extend_from_slice(self.data);
    }
}

/// Initiator Hello (§2.3.2): asks whoever `epd` selects for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitiatorHello<'a> {
    /// Endpoint discriminator.
    pub epd: &'a [u8],
    /// Comes back in the answer.
    pub tag: &'a [u8],
}

impl<'a> InitiatorHello<'a> {
    /// Reads the payload.
    pub fn parse(input: &'a [u8]) -> Result<Self, WireError> {
        let (epd, tag) = vlu::parse_prefixed("ihello.endpointDiscriminator", input)?;
        Ok(Self { epd, tag })
    }

    /// Bytes of the payload.
    pub const fn encoded_len(&self) -> usize {
        vlu::prefixed_len(self.epd.len()) + self.tag.len()
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        vlu::encode_prefixed(self.epd, out);
        out.extend_from_slice(self.tag);
    }
}

/// Forwarded Initiator Hello (§2.3.3): sent in a session on behalf of an initiator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardedHello<'a> {
    /// Endpoint discriminator of the Initiator Hello.
    pub epd: &'a [u8],
    /// Address at which the initiator was seen; the answer goes there.
    pub reply_address: Address,
    /// Tag of the Initiator Hello.
    pub tag: &'a [u8],
}

impl<'a> ForwardedHello<'a> {
    /// Reads the payload.
    pub fn parse(input: &'a [u8]) -> Result<Self, WireError> {
        let (epd, rest) = vlu::parse_prefixed("fihello.endpointDiscriminator", input)?;
        let base = input.len() - rest.len();
        let (reply_address, tag) = Address::parse(rest).map_err(|e| e.within(base))?;
        Ok(Self { epd, reply_address, tag })
    }

    /// Bytes of the payload.
    pub const fn encoded_len(&self) -> usize {
        vlu::prefixed_len(self.epd.len()) + self.reply_address.encoded_len() + self.tag.len()
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        vlu::encode_prefixed(self.epd, out);
        self.reply_address.encode(out);
        out.extend_from_slice(self.tag);
    }
}

/// Responder Hello (§2.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponderHello<'a> {
    /// Tag of the Initiator Hello.
    pub tag_echo: &'a [u8],
    /// To be echoed in the Initiator Initial Keying.
    pub cookie: &'a [u8],
    /// The responder's certificate.
    pub certificate: &'a [u8],
}

impl<'a> ResponderHello<'a> {
    /// Reads the payload.
    pub fn parse(input: &'a [u8]) -> Result<Self, WireError> {
        let (tag_echo, rest) = vlu::parse_prefixed("rhello.tagEcho", input)?;
        let (cookie, certificate) = prefixed(input, rest, "rhello.cookie")?;
        Ok(Self { tag_echo, cookie, certificate })
    }

    /// Bytes of the payload.
    pub const fn encoded_len(&self) -> usize {
        vlu::prefixed_len(self.tag_echo.len())
            + vlu::prefixed_len(self.cookie.len())
            + self.certificate.len()
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        vlu::encode_prefixed(self.tag_echo, out);
        vlu::encode_prefixed(self.cookie, out);
        out.extend_from_slice(self.certificate);
    }
}

/// Responder Redirect (§2.3.5). No address at all is an implied redirect to the packet's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect<'a> {
    /// Tag of the Initiator Hello.
    pub tag_echo: &'a [u8],
    addresses: &'a [u8],
}

impl<'a> Redirect<'a> {
    /// Reads the payload. Every address must be whole.
    pub fn parse(input: &'a [u8]) -> Result<Self, WireError> {
        let (tag_echo, addresses) = vlu::parse_prefixed("redirect.tagEcho", input)?;
        let mut rest = addresses;
        while !rest.is_empty() {
            let base = input.len() - rest.len();
            rest = Address::parse(rest).map_err(|e| e.within(base))?.1;
        }
        Ok(Self { tag_echo, addresses })
    }

    /// A redirect to `addresses`, which are encoded into `scratch`.
    pub fn new(tag_echo: &'a [u8], addresses: &[Address], scratch: &'a mut Vec<u8>) -> Self {
        scratch.clear();
        addresses.iter().for_each(|a| a.encode(scratch));
        Self { tag_echo, addresses: scratch }
    }

    /// The addresses to try.
    pub fn addresses(&self) -> impl Iterator<Item = Address> + 'a {
        let mut rest = self.addresses;
        std::iter::from_fn(move || {
            let (address, after) = Address::parse(rest).ok()?;
            rest = after;
            Some(address)
        })
    }

    /// Bytes of the payload.
    pub const fn encoded_len(&self) -> usize {
        vlu::prefixed_len(self.tag_echo.len()) + self.addresses.len()
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        vlu::encode_prefixed(self.tag_echo, out);
        out.extend_from_slice(self.addresses);
    }
}

/// RHello Cookie Change (§2.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieChange<'a> {
    /// The cookie that the initiator echoed.
    pub old_cookie: &'a [u8],
    /// The cookie to echo instead.
    pub new_cookie: &'a [u8],
}

impl<'a> CookieChange<'a> {
    /// Reads the payload.
    pub fn parse(input: &'a [u8]) -> Result<Self, WireError> {
        let (old_cookie, new_cookie) = vlu::parse_prefixed("cookieChange.oldCookie", input)?;
        Ok(Self { old_cookie, new_cookie })
    }

    /// Bytes of the payload.
    pub const fn encoded_len(&self) -> usize {
        vlu::prefixed_len(self.old_cookie.len()) + self.new_cookie.len()
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        vlu::encode_prefixed(self.old_cookie, out);
        out.extend_from_slice(self.new_cookie);
    }
}

/// Initiator Initial Keying (§2.3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitiatorKeying<'a> {
    /// The session ID that the responder shall put on its packets.
    pub session_id: u32,
    /// The cookie of the Responder Hello.
    pub cookie: &'a [u8],
    /// The initiator's certificate.
    pub certificate: &'a [u8],
    /// Session Key Initiator Component.
    pub component: &'a [u8],
    /// Signature of everything before it.
    pub signature: &'a [u8],
}

impl<'a> InitiatorKeying<'a> {
    /// Reads the payload.
    pub fn parse(input: &'a [u8]) -> Result<Self, WireError> {
        let (session_id, rest) = session_id(input, "iikeying.initiatorSessionID")?;
        let (cookie, rest) = prefixed(input, rest, "iikeying.cookieEcho")?;
        let (certificate, rest) = prefixed(input, rest, "iikeying.initiatorCertificate")?;
        let (component, signature) =
            prefixed(input, rest, "iikeying.sessionKeyInitiatorComponent")?;
        Ok(Self { session_id, cookie, certificate, component, signature })
    }

    /// Bytes of the payload.
    pub const fn encoded_len(&self) -> usize {
        4 + vlu::prefixed_len(self.cookie.len())
            + vlu::prefixed_len(self.certificate.len())
            + vlu::prefixed_len(self.component.len())
            + self.signature.len()
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_signed(out);
        out.extend_from_slice(self.signature);
    }

    /// Appends the parameters that the signature covers.
    pub fn encode_signed(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.session_id.to_be_bytes());
        vlu::encode_prefixed(self.cookie, out);
        vlu::encode_prefixed(self.certificate, out);
        vlu::encode_prefixed(self.component, out);
    }
}

/// Responder Initial Keying (§2.3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponderKeying<'a> {
    /// The session ID that the initiator shall put on its packets.
    pub session_id: u32,
    /// Session Key Responder Component.
    pub component: &'a [u8],
    /// Signature of everything before it and the initiator's component.
    pub signature: &'a [u8],
}

impl<'a> ResponderKeying<'a> {
    /// Reads the payload.
    pub fn parse(input: &'a [u8]) -> Result<Self, WireError> {
        let (session_id, rest) = session_id(input, "rikeying.responderSessionID")?;
        let (component, signature) =
            prefixed(input, rest, "rikeying.sessionKeyResponderComponent")?;
        Ok(Self { session_id, component, signature })
    }

    /// Bytes of the payload.
    pub const fn encoded_len(&self) -> usize {
        4 + vlu::prefixed_len(self.component.len()) + self.signature.len()
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_signed(out);
        out.extend_from_slice(self.signature);
    }

    /// Appends the portion of this chunk that the signature covers; the initiator's component
    /// follows it in what is signed.
    pub fn encode_signed(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.session_id.to_be_bytes());
        vlu::encode_prefixed(self.component, out);
    }
}

fn truncated(field: &'static str, offset: usize) -> WireError {
    WireError::new(field, offset, Reason::Truncated)
}

fn session_id<'a>(input: &'a [u8], field: &'static str) -> Result<(u32, &'a [u8]), WireError> {
    let (id, rest) = input.split_first_chunk::<4>().ok_or(truncated(field, 0))?;
    Ok((u32::from_be_bytes(*id), rest))
}

fn field<'a>(
    whole: &[u8],
    rest: &'a [u8],
    name: &'static str,
) -> Result<(u64, &'a [u8]), WireError> {
    vlu::parse(name, rest).map_err(|e| e.within(whole.len() - rest.len()))
}

fn prefixed<'a>(
    whole: &[u8],
    rest: &'a [u8],
    name: &'static str,
) -> Result<(&'a [u8], &'a [u8]), WireError> {
    vlu::parse_prefixed(name, rest).map_err(|e| e.within(whole.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Origin;

    #[test]
    fn initiator_hello_of_the_player() {
        // From a session of Flash Player 10.3: an Ancillary Data option and a 16-byte tag.
        let url = b"rtmfp://127.0.0.1:2500/app/inst";
        let mut bytes = vec![0x21, 0x20, 0x0a];
        bytes.extend_from_slice(url);
        bytes.extend_from_slice(&[0x9a; 16]);
        let hello = InitiatorHello::parse(&bytes).unwrap();
        assert_eq!(hello.epd[..2], [0x20, 0x0a]);
        assert_eq!(&hello.epd[2..], url);
        assert_eq!(hello.tag, [0x9a; 16]);
        let mut out = Vec::new();
        hello.encode(&mut out);
        assert_eq!(out, bytes);
    }

    #[test]
    fn keying_fields_stand_in_order() {
        let bytes = [2, 0, 0, 0, 1, 0xc0, 2, 0xce, 0xce, 3, 0xaa, 0xbb, 0xcc, 0x58];
        let keying = InitiatorKeying::parse(&bytes).unwrap();
        assert_eq!(keying.session_id, 0x0200_0000);
        assert_eq!(keying.cookie, [0xc0]);
        assert_eq!(keying.certificate, [0xce, 0xce]);
        assert_eq!(keying.component, [0xaa, 0xbb, 0xcc]);
        assert_eq!(keying.signature, b"X");
        let mut signed = Vec::new();
        keying.encode_signed(&mut signed);
        assert_eq!(signed, bytes[..bytes.len() - 1]);

        let bytes = [9, 0, 0, 0, 2, 0xaa, 0xbb];
        let keying = ResponderKeying::parse(&bytes).unwrap();
        assert_eq!((keying.component, keying.signature), (&[0xaa, 0xbb][..], &[][..]));
    }

    #[test]
    fn hostile_every_truncation_of_a_keying() {
        let bytes = [2, 0, 0, 0, 1, 0xc0, 2, 0xce, 0xce, 3, 0xaa, 0xbb, 0xcc];
        for cut in 0..bytes.len() {
            assert_eq!(
                InitiatorKeying::parse(&bytes[..cut]).unwrap_err().reason,
                Reason::Truncated
            );
        }
    }

    #[test]
    fn redirect_lists_whole_addresses_only() {
        let mut scratch = Vec::new();
        let to = [
            Address::new("10.0.0.5:1935".parse().unwrap(), Origin::Reflexive),
            Address::new("[::1]:1935".parse().unwrap(), Origin::Local),
        ];
        let redirect = Redirect::new(b"tag", &to, &mut scratch);
        let mut out = Vec::new();
        redirect.encode(&mut out);
        assert_eq!(Redirect::parse(&out).unwrap().addresses().collect::<Vec<_>>(), to);
        assert!(Redirect::parse(&out[..out.len() - 1]).is_err());
        assert_eq!(Redirect::parse(&[1, 9]).unwrap().addresses().count(), 0);
    }

    #[test]
    fn forwarded_hello_keeps_the_reply_address() {
        let bytes = [1, 0xee, 0x02, 127, 0, 0, 1, 0x88, 0x4c, 0x7a];
        let hello = ForwardedHello::parse(&bytes).unwrap();
        assert_eq!(hello.epd, [0xee]);
        assert_eq!(hello.reply_address.socket, "127.0.0.1:34892".parse().unwrap());
        assert_eq!(hello.tag, [0x7a]);
    }

    #[test]
    fn an_empty_fragment_is_refused() {
        assert!(PacketFragment::parse(&[0x80, 1, 0]).is_err());
        let fragment = PacketFragment::parse(&[0x80, 1, 2, 3]).unwrap();
        assert_eq!((fragment.more, fragment.packet_id, fragment.number), (true, 1, 2));
    }
}
