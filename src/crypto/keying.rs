//! The two ends of a keying (RFC 7425 §4.6).
//!
//! ```text
//! initiator                                   responder
//! Initiate::run → Initiated
//!    Initiated::component  ── IIKeying ──►   Respond::run → SKRC, SessionKeys
//!    Initiated::finish     ◄── RIKeying ──
//!       → SessionKeys
//! ```
//!
//! A static key of 1,024 bits is what every program of Flash's time takes. Where both ends know it,
//! they add an exchange of ephemeral keys in a larger group, and both secrets together make the
//! keys of the session: it is as strong as the stronger of the two, and no later knowledge of the
//! static keys opens it (`protocol-notes/cryptography.md`, Additional keys).

use super::certificate::Certificate;
use super::component::{
    Component, Terms, encode_additional_key, encode_ephemeral_key, encode_extra_randomness,
    encode_group_select, encode_terms,
};
use super::dh::{DhGroup, DhSecret, PrivateKey};
use super::negotiation::{Direction, Negotiated, Negotiation};
use super::schedule::{KeyLogEntry, TrafficKeys, hmac_keyed, nonce};
use super::{CryptoError, Identity, KeyingRandom, Opener, Sealer};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes in which the secret of an additional exchange follows the other: those of the largest
/// group, so that the two can't be taken for one another.
const ADDITIONAL_SECRET_LEN: usize = 512;

/// The first half of a keying at the initiator: a job.
#[derive(Debug)]
pub struct Initiate {
    /// The near end.
    pub identity: Arc<Identity>,
    /// The certificate of the responder, from its RHello.
    pub far: Certificate,
    /// Protections to offer.
    pub offer: Negotiation,
    /// The responder is known to be one of ours: it takes an additional key, and all that the
    /// offer holds.
    pub ours: bool,
    /// Fresh randomness.
    pub random: KeyingRandom,
}

/// An initiator that waits for the responder's component.
pub struct Initiated {
    identity: Arc<Identity>,
    far: Certificate,
    offer: Negotiation,
    terms: Terms,
    group: DhGroup,
    /// `None`: the identity's static key in the group.
    ephemeral: Option<PrivateKey>,
    /// The key of an exchange beside that of the static key.
    additional: Option<PrivateKey>,
    component: Vec<u8>,
}

/// A keying at the responder: a job.
#[derive(Debug)]
pub struct Respond {
    /// The near end.
    pub identity: Arc<Identity>,
    /// The certificate of the initiator, from its IIKeying.
    pub initiator: Certificate,
    /// The initiator's component, from its IIKeying.
    pub skic: Vec<u8>,
    /// Protections to answer with.
    pub policy: Negotiation,
    /// Fresh randomness.
    pub random: KeyingRandom,
}

/// Result of a keying at either end.
pub struct SessionKeys {
    /// Encrypts packets to the far end.
    pub sealer: Sealer,
    /// Decrypts packets from the far end.
    pub opener: Opener,
    /// The near end's session nonce (§4.6.5): a secret of the two ends.
    pub near_nonce: [u8; 32],
    /// The far end's session nonce.
    pub far_nonce: [u8; 32],
    /// For reading a recording of the session.
    pub key_log: KeyLogEntry,
    /// Results of the negotiation.
    pub negotiated: Negotiated,
}

impl Initiate {
    /// Chooses a group and makes the initiator's component. With an ephemeral identity this costs
    /// one power of the generator.
    ///
    /// # Errors
    ///
    /// [`CryptoError::NoCommonGroup`] or [`CryptoError::ContradictoryCertificate`]: no session
    /// with this certificate is possible.
    pub fn run(self) -> Result<Initiated, CryptoError> {
        let Self { identity, far, offer, ours, random } = self;
        let offer = if ours { offer.among_ourselves() } else { offer };
        let group = choose_group(&identity, &far, &offer)?;
        let mut component = Vec::new();
        if identity.static_key(group).is_some() {
            encode_group_select(group, &mut component);
        }
        let ephemeral = near_key(&identity, group, &random, &mut component)?;
        let terms = offer.offer();
        encode_terms(&terms, &mut component);
        let wanted = offer.additional_group(group).filter(|_| ours);
        let additional = wanted.map(|group| additional_key(group, &random, &mut component));
        let additional = additional.transpose()?;
        Ok(Initiated { identity, far, offer, terms, group, ephemeral, additional, component })
    }
}

impl Initiated {
    /// The session key initiator component (SKIC) for the IIKeying chunk.
    pub fn component(&self) -> &[u8] {
        &self.component
    }

    /// Computes the session keys from the responder's component. Costs one power.
    ///
    /// It can be called again with another component: RIKeying is not authenticated, and a forged
    /// one must not end the attempt.
    ///
    /// # Errors
    ///
    /// If the component is malformed, contradicts the certificate or the SKIC, has an unacceptable
    /// key, or does not offer what is required.
    pub fn finish(&self, skrc: &[u8]) -> Result<SessionKeys, CryptoError> {
        let far = Component::parse(skrc)?;
        let far_static = self.far.is_static()?;
        let far_public = match (far_static, far.ephemeral_key) {
            (true, None) => self.far.static_key(self.group).ok_or(CryptoError::MissingPublicKey)?,
            (false, Some((group, public))) if group == self.group.id() => public,
            (false, Some(_)) => return Err(CryptoError::GroupMismatch),
            _ => return Err(CryptoError::MissingPublicKey),
        };
        let receive = Direction::settle(&far.terms, &self.terms);
        self.offer.check(receive)?;
        let near_key = match &self.ephemeral {
            Some(key) => key,
            None => self.identity.static_key(self.group).ok_or(CryptoError::NoCommonGroup)?,
        };
        let negotiated = Negotiated {
            group: self.group,
            additional_group: far
                .additional_key
                .and(self.additional.as_ref())
                .map(PrivateKey::group),
            near_static: self.ephemeral.is_none(),
            far_static,
            send: Direction::settle(&self.terms, &far.terms),
            receive,
        };
        let mut secret = near_key.agree(far_public)?;
        if let Some((key, (group, public))) = self.additional.as_ref().zip(far.additional_key) {
            if group != key.group().id() {
                return Err(CryptoError::GroupMismatch);
            }
            secret = join(&secret, &key.agree(public)?);
        }
        let log = KeyLogEntry::new(&self.component, skrc, secret.clone());
        Ok(SessionKeys::derive(&secret, &self.component, skrc, negotiated, log))
    }
}

impl Respond {
    /// Computes the responder's component (SKRC) for the RIKeying chunk, and the session keys.
    /// Costs one power, and with an ephemeral identity one power of the generator.
    ///
    /// # Errors
    ///
    /// If the initiator's component is malformed, contradicts its certificate, has an unacceptable
    /// key or a group that the identity does not have, or does not offer what is required.
    pub fn run(self) -> Result<(Vec<u8>, SessionKeys), CryptoError> {
        let Self { identity, initiator, skic, policy, random } = self;
        let far = Component::parse(&skic)?;
        let far_static = initiator.is_static()?;
        let (group, far_public) = initiator_key(&initiator, far_static, &far)?;
        if !identity.groups().contains(&group) {
            return Err(CryptoError::UnsupportedGroup(group.id()));
        }
        let terms = policy.answer(&far.terms);
        let receive = Direction::settle(&far.terms, &terms);
        policy.check(receive)?;

        // At least one implementation reads no other order.
        let mut skrc = Vec::new();
        encode_terms(&terms, &mut skrc);
        let ephemeral = near_key(&identity, group, &random, &mut skrc)?;
        let near_key = match &ephemeral {
            Some(key) => key,
            None => identity.static_key(group).ok_or(CryptoError::UnsupportedGroup(group.id()))?,
        };
        let additional = match far.additional_key {
            Some((id, public)) if policy.additional_group(group).is_some_and(|g| g.id() == id) => {
                let group = DhGroup::from_id(id).ok_or(CryptoError::UnsupportedGroup(id))?;
                Some((additional_key(group, &random, &mut skrc)?, public))
            }
            _ => None,
        };
        let negotiated = Negotiated {
            group,
            additional_group: additional.as_ref().map(|(key, _)| key.group()),
            near_static: ephemeral.is_none(),
            far_static,
            send: Direction::settle(&terms, &far.terms),
            receive,
        };
        let mut secret = near_key.agree(far_public)?;
        if let Some((key, public)) = additional {
            secret = join(&secret, &key.agree(public)?);
        }
        let log = KeyLogEntry::new(&skic, &skrc, secret.clone());
        let keys = SessionKeys::derive(&secret, &skrc, &skic, negotiated, log);
        Ok((skrc, keys))
    }
}

/// The group that an initiator takes (§4.6.1): one of both certificates.
fn choose_group(
    identity: &Identity,
    far: &Certificate,
    offer: &Negotiation,
) -> Result<DhGroup, CryptoError> {
    let far_groups: Vec<DhGroup> = if far.is_static()? {
        far.static_groups().collect()
    } else {
        far.ephemeral_groups().collect()
    };
    let common = |group: &&DhGroup| identity.groups().contains(group) && far_groups.contains(group);
    offer
        .groups
        .iter()
        .chain(identity.groups())
        .find(common)
        .copied()
        .ok_or(CryptoError::NoCommonGroup)
}

/// Appends the near end's share to its component: a new public key, which is returned, or a salt
/// if the identity has a static key.
fn near_key(
    identity: &Identity,
    group: DhGroup,
    random: &KeyingRandom,
    component: &mut Vec<u8>,
) -> Result<Option<PrivateKey>, CryptoError> {
    if identity.static_key(group).is_some() {
        encode_extra_randomness(random.salt(), component);
        return Ok(None);
    }
    let key = PrivateKey::generate(group, random)?;
    encode_ephemeral_key(group, key.public(), component);
    Ok(Some(key))
}

/// Appends the key of an additional exchange to a component.
fn additional_key(
    group: DhGroup,
    random: &KeyingRandom,
    component: &mut Vec<u8>,
) -> Result<PrivateKey, CryptoError> {
    let key = PrivateKey::from_random(group, random.additional_exponent())?;
    encode_additional_key(group, key.public(), component);
    Ok(key)
}

/// The secret of a keying with an additional exchange: both secrets, the second with leading zeros.
fn join(secret: &DhSecret, additional: &DhSecret) -> DhSecret {
    let zeros = ADDITIONAL_SECRET_LEN.saturating_sub(additional.len());
    let len = secret.len() + zeros + additional.len();
    let mut joined = Zeroizing::new(Vec::with_capacity(len));
    joined.extend_from_slice(secret);
    joined.resize(secret.len() + zeros, 0);
    joined.extend_from_slice(additional);
    joined
}

/// The group and the public key of an initiator (§4.6.1).
fn initiator_key<'a>(
    certificate: &'a Certificate,
    is_static: bool,
    component: &Component<'a>,
) -> Result<(DhGroup, &'a [u8]), CryptoError> {
    let known = |id| DhGroup::from_id(id).ok_or(CryptoError::UnsupportedGroup(id));
    match (is_static, component.group_select, component.ephemeral_key) {
        (true, Some(id), None) => {
            let group = known(id)?;
            let public = certificate.static_key(group).ok_or(CryptoError::MissingPublicKey)?;
            Ok((group, public))
        }
        (false, None, Some((id, public))) => Ok((known(id)?, public)),
        (true, None, None) | (false, Some(_), Some(_)) => Err(CryptoError::GroupSelection),
        _ => Err(CryptoError::MissingPublicKey),
    }
}

impl SessionKeys {
    fn derive(
        secret: &DhSecret,
        near_component: &[u8],
        far_component: &[u8],
        negotiated: Negotiated,
        key_log: KeyLogEntry,
    ) -> Self {
        let secret = hmac_keyed(secret);
        let send = TrafficKeys::derive_keyed(&secret, near_component, far_component);
        let receive = TrafficKeys::derive_keyed(&secret, far_component, near_component);
        Self {
            sealer: Sealer::new(&send, negotiated.send),
            opener: Opener::new(&receive, negotiated.receive),
            near_nonce: nonce(&secret, near_component),
            far_nonce: nonce(&secret, far_component),
            key_log,
            negotiated,
        }
    }
}

impl fmt::Debug for Initiated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiated")
            .field("far", &self.far)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKeys").field("negotiated", &self.negotiated).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
