// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Transaction signatures (TSIG, RFC 8945): signs what we ask of a primary
//! and checks what it answers, also where an answer is many messages and only
//! some of them are signed.
//!
//! Ours rather than hickory's, whose signer comes with all of its DNSSEC and
//! wants every message of a transfer decoded by hickory.

use hickory_proto::rr::RecordType;
use ring::hmac;

use super::wire::{Header, WireError, WireRecord, last_additional};
use crate::dns::names::WireName;
use crate::model::primary::{TsigAlgorithm, TsigKey};

/// Seconds two clocks may differ (RFC 8945 §10).
const FUDGE: u16 = 300;
/// Messages in a row that may come unsigned (§5.3.1: every 100th is signed).
const MAX_UNSIGNED: usize = 99;
const CLASS_ANY: u16 = 255;

/// Why a signature is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TsigError {
    #[error("the answer is not signed")]
    Unsigned,
    #[error("the signature is by another key or algorithm")]
    OtherKey,
    #[error("the signature is wrong")]
    Wrong,
    #[error("the clocks differ by {0} seconds, 300 are allowed")]
    Clock(u64),
    #[error("the primary rejects our signature: {0}")]
    Rejected(&'static str),
    #[error("the signature cannot be read: {0}")]
    Unreadable(WireError),
}

/// The data of a TSIG record.
struct Tsig {
    key: WireName,
    algorithm: WireName,
    /// 48 bits on the wire.
    time: u64,
    fudge: u16,
    mac: Vec<u8>,
    original_id: u16,
    error: u16,
    other: Vec<u8>,
}

impl Tsig {
    /// Reads the record at the end of a message, and where it begins.
    fn of(message: &[u8]) -> Result<Option<(usize, Self)>, TsigError> {
        let last = last_additional(message).map_err(TsigError::Unreadable)?;
        match last {
            Some((at, record))
                if record.rtype == u16::from(RecordType::TSIG) =>
            {
                let tsig = Self::read(record).ok_or(TsigError::Unreadable(
                    WireError("data of no TSIG"),
                ))?;
                Ok(Some((at, tsig)))
            }
            _ => Ok(None),
        }
    }

    fn read(record: WireRecord) -> Option<Self> {
        if record.class != CLASS_ANY || record.ttl != 0 {
            return None;
        }
        let mut lower = record.rdata.clone();
        lower.make_ascii_lowercase();
        let algorithm = WireName::read(&lower)?;
        let rest = record.rdata.get(algorithm.as_bytes().len()..)?;
        let (time, rest) = rest.split_first_chunk::<6>()?;
        let time = time.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let (fudge, rest) = word(rest)?;
        let (len, rest) = word(rest)?;
        let (mac, rest) = rest.split_at_checked(len.into())?;
        let (original_id, rest) = word(rest)?;
        let (error, rest) = word(rest)?;
        let (len, rest) = word(rest)?;
        (rest.len() == usize::from(len)).then(|| Self {
            key: record.owner,
            algorithm,
            time,
            fudge,
            mac: mac.to_vec(),
            original_id,
            error,
            other: rest.to_vec(),
        })
    }

    /// What is signed besides the message (§4.3.3).
    fn variables(&self) -> Vec<u8> {
        let mut all = self.key.as_bytes().to_vec();
        all.extend_from_slice(&CLASS_ANY.to_be_bytes());
        all.extend_from_slice(&[0; 4]);
        all.extend_from_slice(self.algorithm.as_bytes());
        all.extend_from_slice(&self.timers());
        all.extend_from_slice(&self.error.to_be_bytes());
        all.extend_from_slice(&length(&self.other));
        all.extend_from_slice(&self.other);
        all
    }

    /// The same from the second signature of an answer on (§5.3.1).
    fn timers(&self) -> [u8; 8] {
        let mut timers = [0; 8];
        timers[..6].copy_from_slice(&self.time.to_be_bytes()[2..]);
        timers[6..].copy_from_slice(&self.fudge.to_be_bytes());
        timers
    }

    /// Appends the record and counts it.
    fn append_to(&self, message: &mut Vec<u8>) {
        let mut data = self.algorithm.as_bytes().to_vec();
        data.extend_from_slice(&self.timers());
        data.extend_from_slice(&length(&self.mac));
        data.extend_from_slice(&self.mac);
        data.extend_from_slice(&self.original_id.to_be_bytes());
        data.extend_from_slice(&self.error.to_be_bytes());
        data.extend_from_slice(&length(&self.other));
        data.extend_from_slice(&self.other);
        message.extend_from_slice(self.key.as_bytes());
        message.extend_from_slice(&u16::from(RecordType::TSIG).to_be_bytes());
        message.extend_from_slice(&CLASS_ANY.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&length(&data));
        message.extend_from_slice(&data);
        add_to_additional(message, 1);
    }
}

fn word(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*word), rest))
}

/// Lengths here are those of MACs and small records.
fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}

fn add_to_additional(message: &mut [u8], by: i16) {
    if let Some(count) = message.get_mut(10..12) {
        let now = u16::from_be_bytes([count[0], count[1]]);
        count.copy_from_slice(&now.wrapping_add_signed(by).to_be_bytes());
    }
}

/// The message as it was signed: without its TSIG, under its first id.
fn stripped(message: &[u8], at: usize, original_id: u16) -> Vec<u8> {
    let mut bytes = message.get(..at).unwrap_or_default().to_vec();
    add_to_additional(&mut bytes, -1);
    if let Some(id) = bytes.get_mut(..2) {
        id.copy_from_slice(&original_id.to_be_bytes());
    }
    bytes
}

/// A key ready for use.
struct Key {
    name: WireName,
    algorithm: WireName,
    hmac: hmac::Key,
}

impl Key {
    fn new(key: &TsigKey) -> Self {
        let hmac = match key.algorithm {
            TsigAlgorithm::HmacSha256 => hmac::HMAC_SHA256,
            TsigAlgorithm::HmacSha512 => hmac::HMAC_SHA512,
        };
        let mut algorithm = vec![11];
        algorithm.extend_from_slice(key.algorithm.as_str().as_bytes());
        algorithm.push(0);
        Self {
            name: WireName::from_zone(&key.name),
            algorithm: WireName::read(&algorithm)
                .expect("both names have eleven letters"),
            // To sign with.
            hmac: hmac::Key::new(hmac, key.secret.expose()),
        }
    }

    fn tsig(&self, original_id: u16, now: u64) -> Tsig {
        Tsig {
            key: self.name.clone(),
            algorithm: self.algorithm.clone(),
            time: now,
            fudge: FUDGE,
            mac: Vec::new(),
            original_id,
            error: 0,
            other: Vec::new(),
        }
    }

    fn mac(&self, signed: &[u8]) -> Vec<u8> {
        hmac::sign(&self.hmac, signed).as_ref().to_vec()
    }

    /// Key, signature, error and clock, in that order (§5.2, §5.3).
    fn check(
        &self,
        tsig: &Tsig,
        signed: &[u8],
        now: u64,
    ) -> Result<(), TsigError> {
        if tsig.key != self.name || tsig.algorithm != self.algorithm {
            return Err(TsigError::OtherKey);
        }
        let same = hmac::verify(&self.hmac, signed, &tsig.mac).is_ok();
        // BADSIG and BADKEY come without a signature (§5.3.2).
        if !same && !tsig.mac.is_empty() {
            return Err(TsigError::Wrong);
        }
        match tsig.error {
            0 => {}
            16 => return Err(TsigError::Rejected("BADSIG")),
            17 => return Err(TsigError::Rejected("BADKEY")),
            18 => return Err(TsigError::Rejected("BADTIME")),
            _ => return Err(TsigError::Rejected("an unknown error")),
        }
        if !same {
            return Err(TsigError::Wrong);
        }
        let off = tsig.time.abs_diff(now);
        if off > u64::from(tsig.fudge) {
            return Err(TsigError::Clock(off));
        }
        Ok(())
    }
}

/// Checks the messages of one answer.
pub(crate) struct Verifier {
    key: Key,
    /// MAC of the query, then of the last signed message.
    prior: Vec<u8>,
    is_first: bool,
    /// Messages since then, for the next signature.
    unsigned: Vec<u8>,
    count: usize,
}

/// Signs a query; the verifier waits for what comes back. `now`: seconds
/// since 1970.
pub(crate) fn sign(
    key: &TsigKey,
    message: &mut Vec<u8>,
    now: u64,
) -> Result<Verifier, WireError> {
    let key = Key::new(key);
    let mut tsig = key.tsig(Header::read(message)?.id, now);
    tsig.mac = key.mac(&[message.as_slice(), &tsig.variables()].concat());
    tsig.append_to(message);
    Ok(Verifier {
        key,
        prior: tsig.mac,
        is_first: true,
        unsigned: Vec::new(),
        count: 0,
    })
}

impl Verifier {
    /// Takes the next message of the answer.
    pub(crate) fn take(
        &mut self,
        message: &[u8],
        now: u64,
    ) -> Result<(), TsigError> {
        let Some((at, tsig)) = Tsig::of(message)? else {
            self.count += 1;
            if self.is_first || self.count > MAX_UNSIGNED {
                return Err(TsigError::Unsigned);
            }
            self.unsigned.extend_from_slice(message);
            return Ok(());
        };
        let stripped = stripped(message, at, tsig.original_id);
        let signed_with = match self.is_first {
            true => tsig.variables(),
            false => tsig.timers().to_vec(),
        };
        let signed = [
            &length(&self.prior)[..],
            &self.prior,
            &self.unsigned,
            &stripped,
            &signed_with,
        ]
        .concat();
        self.key.check(&tsig, &signed, now)?;
        self.prior = tsig.mac;
        self.is_first = false;
        self.unsigned.clear();
        self.count = 0;
        Ok(())
    }

    /// The last message must have been a signed one (§5.3.1).
    pub(crate) fn finish(&self) -> Result<(), TsigError> {
        match self.is_first || self.count > 0 {
            true => Err(TsigError::Unsigned),
            false => Ok(()),
        }
    }
}

/// Checks a request made to us, a NOTIFY, and returns its MAC, which the
/// answer's signature begins with; `None` when it is not signed.
pub(crate) fn verify_request(
    key: &TsigKey,
    message: &[u8],
    now: u64,
) -> Result<Option<Vec<u8>>, TsigError> {
    let Some((at, tsig)) = Tsig::of(message)? else { return Ok(None) };
    let key = Key::new(key);
    let stripped = stripped(message, at, tsig.original_id);
    let signed = [stripped, tsig.variables()].concat();
    key.check(&tsig, &signed, now)?;
    Ok(Some(tsig.mac))
}

/// Signs our answer to a request with this MAC.
pub(crate) fn sign_response(
    key: &TsigKey,
    request_mac: &[u8],
    message: &mut Vec<u8>,
    now: u64,
) -> Result<(), WireError> {
    let key = Key::new(key);
    let mut tsig = key.tsig(Header::read(message)?.id, now);
    let len = length(request_mac);
    let signed = [&len[..], request_mac, message, &tsig.variables()].concat();
    tsig.mac = key.mac(&signed);
    tsig.append_to(message);
    Ok(())
}

#[cfg(test)]
#[path = "tsig_tests.rs"]
mod tests;
