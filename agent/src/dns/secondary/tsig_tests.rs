// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Signatures made and checked by the same code; that others make the same is
//! shown against real servers (`tests/integration/dns_secondary`).

use super::*;
use crate::dns::secondary::fake::apex;
use crate::dns::secondary::wire::query;

const NOW: u64 = 1_800_000_000;

fn key(secret: &str) -> TsigKey {
    let text = format!(
        "key \"k.example\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};"
    );
    TsigKey::parse(&text).unwrap()
}

fn ours() -> TsigKey {
    key("MDEyMzQ1Njc4OWFiY2RlZg==")
}

/// Answers of a server that signs the messages of these numbers.
fn answers(request_mac: &[u8], signed: &[bool]) -> Vec<Vec<u8>> {
    let key = Key::new(&ours());
    let mut prior = request_mac.to_vec();
    let mut since = Vec::new();
    let mut first = true;
    let mut all = Vec::new();
    for signs in signed {
        let mut message = query(7, 0, &apex(), RecordType::AXFR, None);
        if !signs {
            since.extend_from_slice(&message);
            all.push(message);
            continue;
        }
        let mut tsig = key.tsig(7, NOW);
        let with = match first {
            true => tsig.variables(),
            false => tsig.timers().to_vec(),
        };
        let len = length(&prior);
        let signed = [&len[..], &prior, &since, &message, &with].concat();
        tsig.mac = key.mac(&signed);
        tsig.append_to(&mut message);
        prior = tsig.mac;
        (first, since) = (false, Vec::new());
        all.push(message);
    }
    all
}

fn asked() -> Verifier {
    let mut message = query(7, 0, &apex(), RecordType::AXFR, None);
    sign(&ours(), &mut message, NOW).unwrap()
}

fn check(verifier: &mut Verifier, all: &[Vec<u8>]) -> Result<(), TsigError> {
    for message in all {
        verifier.take(message, NOW + 200)?;
    }
    verifier.finish()
}

#[test]
fn a_signed_answer_is_taken() {
    for signed in [
        &[true][..],
        &[true, true, true],
        &[true, false, false, true],
        &[[true].as_slice(), &[false; 99], &[true]].concat(),
    ] {
        let mut verifier = asked();
        let all = answers(&verifier.prior, signed);
        assert_eq!(check(&mut verifier, &all), Ok(()), "{signed:?}");
    }
}

#[test]
fn an_unsigned_one_is_not() {
    for signed in [
        &[][..],
        &[false],
        &[false, true],
        &[true, false],
        &[[true].as_slice(), &[false; 100], &[true]].concat(),
    ] {
        let mut verifier = asked();
        let all = answers(&verifier.prior, signed);
        let refused = check(&mut verifier, &all);
        assert_eq!(refused, Err(TsigError::Unsigned), "{signed:?}");
    }
}

#[test]
fn any_changed_byte_is_found() {
    let mac = asked().prior;
    let all = answers(&mac, &[true, false, true]);
    for (n, message) in all.iter().enumerate() {
        for at in 0..message.len() {
            let mut changed = all.clone();
            changed[n][at] ^= 1;
            // The id may be rewritten on the way: it is signed apart.
            if at < 2 && n != 1 {
                continue;
            }
            let mut verifier = asked();
            assert!(check(&mut verifier, &changed).is_err(), "{n} {at}");
        }
    }
}

#[test]
fn clocks_and_keys_must_agree() {
    let mut verifier = asked();
    let all = answers(&verifier.prior, &[true]);
    let late = verifier.take(&all[0], NOW + 301);
    assert_eq!(late, Err(TsigError::Clock(301)));

    let mut message = query(7, 4, &apex(), RecordType::SOA, None);
    sign(&key("YWJjZGVmMDEyMzQ1Njc4OQ=="), &mut message, NOW).unwrap();
    let wrong = verify_request(&ours(), &message, NOW);
    assert_eq!(wrong, Err(TsigError::Wrong));
}

#[test]
fn a_request_is_checked_and_its_answer_signed() {
    let mut message = query(9, 4, &apex(), RecordType::SOA, None);
    assert_eq!(verify_request(&ours(), &message, NOW), Ok(None));
    let mut verifier = sign(&ours(), &mut message, NOW).unwrap();
    let mac = verify_request(&ours(), &message, NOW).unwrap().unwrap();
    let mut answer = query(9, 4, &apex(), RecordType::SOA, None);
    sign_response(&ours(), &mac, &mut answer, NOW).unwrap();
    assert_eq!(verifier.take(&answer, NOW), Ok(()));
    assert_eq!(verifier.finish(), Ok(()));
}

#[test]
fn what_the_primary_says_of_our_signature_is_told() {
    let key = Key::new(&ours());
    let mut message = query(7, 0, &apex(), RecordType::AXFR, None);
    let mut tsig = key.tsig(7, NOW);
    tsig.error = 17;
    tsig.append_to(&mut message);
    let told = asked().take(&message, NOW);
    assert_eq!(told, Err(TsigError::Rejected("BADKEY")));
    assert!(told.unwrap_err().to_string().contains("BADKEY"));
}
