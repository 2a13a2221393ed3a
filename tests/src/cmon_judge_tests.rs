// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Each verdict of the real handler that the fact sheet lists, and the steps
//! around it. Certificates are written here by rcgen, not by the agent.

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
};
use time::Duration;
use time::macros::datetime;

use super::*;
use crate::datacenter::Account;

const NOW: OffsetDateTime = datetime!(2026-07-01 12:00 UTC);
const RSA_LINE: &str =
    include_str!("../../agent/src/certgen/testdata/rsa.openssh.pub");
const RSA_KEY: &str =
    include_str!("../../agent/src/certgen/testdata/rsa.pkcs8");
const RSA_ID: &str = "ed:2d:44:c9:cd:03:8a:3a:71:df:4f:34:02:10:1f:3b";
const P384_LINE: &str =
    include_str!("../../agent/src/certgen/testdata/p384.openssh.pub");
const P384_KEY: &str =
    include_str!("../../agent/src/certgen/testdata/p384.pkcs8");
const P384_ID: &str = "b1:8c:75:7c:1e:14:58:b7:61:4a:c2:d0:2c:48:36:d6";

/// What a certificate of a test says; `good()` is changed at one place.
struct Wanted {
    subject: String,
    issuer: String,
    cmon_purpose: bool,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    signer: KeyPair,
}

fn good() -> Wanted {
    Wanted {
        subject: "admin".to_owned(),
        issuer: format!("MD5:{RSA_ID}"),
        cmon_purpose: true,
        not_before: NOW - Duration::HOUR,
        not_after: NOW + Duration::DAY,
        signer: KeyPair::from_pem(RSA_KEY).unwrap(),
    }
}

impl Wanted {
    fn der(&self) -> Vec<u8> {
        let subject_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, self.subject.as_str());
        params.not_before = self.not_before;
        params.not_after = self.not_after;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if self.cmon_purpose {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::Other(
                vec![1, 3, 6, 1, 4, 1, 38678, 1, 4, 2],
            ));
        }
        let mut of_issuer = CertificateParams::default();
        of_issuer.distinguished_name = rcgen::DistinguishedName::new();
        of_issuer
            .distinguished_name
            .push(DnType::CommonName, self.issuer.as_str());
        let issuer = Issuer::from_params(&of_issuer, &self.signer);
        params.signed_by(&subject_key, &issuer).unwrap().der().to_vec()
    }
}

fn facts() -> Facts {
    Facts {
        datacenter_name: "dc1".to_owned(),
        dns_domain: "triton.test".to_owned(),
        region_name: "region1".to_owned(),
        accounts: vec![Account {
            uuid: "00000000-0000-4000-8000-0000000000ad".to_owned(),
            login: "admin".to_owned(),
            operator: true,
            keys: vec!["not a key".to_owned(), RSA_LINE.to_owned()],
        }],
        servers: Vec::new(),
        vms: Vec::new(),
    }
}

fn verdict(wanted: &Wanted) -> Result<String, Refusal> {
    judge(Some(&wanted.der()), &facts(), NOW)
}

#[test]
fn passes_a_certificate_signed_by_the_account() {
    assert_eq!(verdict(&good()), Ok("admin".to_owned()));
}

#[test]
fn passes_each_spelling_of_the_issuer() {
    for issuer in [
        RSA_ID.to_owned(),
        format!("MD5:{RSA_ID}"),
        "MD5:7S1Eyc0Dijpx3080AhAfOw".to_owned(),
    ] {
        let verdict = verdict(&Wanted { issuer, ..good() });
        assert_eq!(verdict, Ok("admin".to_owned()));
    }
}

#[test]
fn reads_both_spellings_of_the_known_vector_alike() {
    let hex = "b4:05:8b:4d:28:8c:e8:f2:9c:4f:cf:2c:2f:64:64:98";
    let id = parse_key_id("MD5:tAWLTSiM6PKcT88sL2RkmA").unwrap();
    assert_eq!(id, parse_key_id(hex).unwrap());
    assert_eq!(id.to_string(), hex);
}

#[test]
fn refuses_no_certificate_and_rubbish() {
    assert_eq!(judge(None, &facts(), NOW), Err(Refusal::NoCertificate));
    let verdict = judge(Some(b"rubbish"), &facts(), NOW);
    assert!(matches!(verdict, Err(Refusal::Unreadable(_))), "{verdict:?}");
}

#[test]
fn refuses_an_unknown_account() {
    let wanted = Wanted { subject: "nobody".to_owned(), ..good() };
    assert_eq!(
        verdict(&wanted),
        Err(Refusal::UnknownAccount("nobody".to_owned()))
    );
}

#[test]
fn refuses_a_sha256_issuer_and_a_plain_name() {
    let sha = "SHA256:1Qa1mZ6ZfH0dRYzCNzZ8jJ3k0Y5g4F3O5d0u1m6h9a4";
    let wanted = Wanted { issuer: sha.to_owned(), ..good() };
    assert_eq!(verdict(&wanted), Err(Refusal::IssuerNotMd5(sha.to_owned())));
    let wanted = Wanted { issuer: "some CA".to_owned(), ..good() };
    assert_eq!(
        verdict(&wanted),
        Err(Refusal::IssuerNoFingerprint("some CA".to_owned()))
    );
}

#[test]
fn refuses_without_the_purpose_because_the_subject_key_is_not_known() {
    let verdict = verdict(&Wanted { cmon_purpose: false, ..good() });
    assert!(
        matches!(&verdict, Err(Refusal::UnknownKey { key_id, .. })
            if key_id.to_string() != RSA_ID),
        "{verdict:?}"
    );
}

#[test]
fn refuses_a_key_that_is_not_on_the_account() {
    let wanted = Wanted {
        issuer: P384_ID.to_owned(),
        signer: KeyPair::from_pem(P384_KEY).unwrap(),
        ..good()
    };
    let verdict = verdict(&wanted);
    assert!(
        matches!(&verdict, Err(Refusal::UnknownKey { login, key_id })
            if login == "admin" && key_id.to_string() == P384_ID),
        "{verdict:?}"
    );
}

#[test]
fn passes_the_same_key_on_an_administrator_of_that_account_only() {
    let wanted = Wanted {
        issuer: P384_ID.to_owned(),
        signer: KeyPair::from_pem(P384_KEY).unwrap(),
        ..good()
    };
    let member = |account: &str| Administrator {
        account: account.to_owned(),
        keys: vec![P384_LINE.to_owned()],
    };
    let judge = |members: &[Administrator]| {
        judge_with(Some(&wanted.der()), &facts(), members, NOW)
    };
    assert_eq!(judge(&[member("admin")]), Ok("admin".to_owned()));
    assert!(judge(&[member("poseidon")]).is_err());
}

#[test]
fn refuses_a_signature_of_another_key() {
    let signer = KeyPair::generate().unwrap();
    let verdict = verdict(&Wanted { signer, ..good() });
    assert!(matches!(verdict, Err(Refusal::BadSignature(_))), "{verdict:?}");
}

#[test]
fn refuses_a_changed_certificate() {
    let mut der = good().der();
    let at = der.windows(5).position(|w| w == b"admin").unwrap();
    der[at..at + 5].copy_from_slice(b"admiN");
    let mut facts = facts();
    facts.accounts[0].login = "admiN".to_owned();
    let verdict = judge(Some(&der), &facts, NOW);
    assert!(matches!(verdict, Err(Refusal::BadSignature(_))), "{verdict:?}");
}

#[test]
fn checks_both_ends_of_the_validity() {
    let der = good().der();
    let judge = |now| judge(Some(&der), &facts(), now);
    let (from, to) = (good().not_before, good().not_after);
    assert!(judge(from).is_ok());
    assert!(judge(to - Duration::SECOND).is_ok());
    for now in [from - Duration::SECOND, to] {
        assert_eq!(
            judge(now),
            Err(Refusal::NotInForce { not_before: from, not_after: to })
        );
    }
}

#[test]
fn passes_an_old_style_certificate_of_an_account_key_whatever_its_dates() {
    let pair = KeyPair::from_pem(RSA_KEY).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "admin");
    params.not_before = NOW - Duration::weeks(300);
    params.not_after = NOW - Duration::weeks(200);
    let der = params.self_signed(&pair).unwrap().der().to_vec();
    assert_eq!(judge(Some(&der), &facts(), NOW), Ok("admin".to_owned()));
}

#[test]
fn key_ids_of_all_key_types_match_ssh_keygen() {
    let ed25519 =
        include_str!("../../agent/src/certgen/testdata/ed25519.openssh.pub");
    let p256 =
        include_str!("../../agent/src/certgen/testdata/p256.openssh.pub");
    for (line, id) in [
        (RSA_LINE, RSA_ID),
        (P384_LINE, P384_ID),
        (p256, "b7:d2:b7:2a:d3:c2:19:60:ae:8c:38:c0:8e:1b:b0:68"),
        (ed25519, "6b:ef:9f:f0:4c:9f:89:75:3d:ad:22:59:17:44:31:8a"),
    ] {
        assert_eq!(SshKey::parse(line).unwrap().id().to_string(), id);
    }
    // The same ids, taken from a certificate's subject key.
    for (pem, id) in [(RSA_KEY, RSA_ID), (P384_KEY, P384_ID)] {
        let pair = KeyPair::from_pem(pem).unwrap();
        let cert = CertificateParams::default().self_signed(&pair).unwrap();
        let (_, cert) = X509Certificate::from_der(cert.der()).unwrap();
        let found = subject_key_id(cert.public_key()).unwrap();
        assert_eq!(found.to_string(), id);
    }
}

#[test]
fn ed25519_keys_sign_and_are_signed_for() {
    let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let blob = wire(&[b"ssh-ed25519", pair.public_key_raw()]);
    let mut facts = facts();
    let line = format!("ssh-ed25519 {}", STANDARD.encode(&blob));
    facts.accounts[0].keys = vec![line];
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "admin");
    let old_style = params.self_signed(&pair).unwrap();
    let verdict = judge(Some(old_style.der()), &facts, NOW);
    assert_eq!(verdict, Ok("admin".to_owned()));
    let issuer = KeyId(Md5::digest(&blob).into()).to_string();
    let der = Wanted { issuer, signer: pair, ..good() }.der();
    assert_eq!(judge(Some(&der), &facts, NOW), Ok("admin".to_owned()));
}
