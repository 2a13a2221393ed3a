// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the certificate says, read back with x509-parser, and each reason to
//! replace it. The whole judgement of CMON is tested in localdc.

use proptest::prelude::*;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-07-01 12:34:56.789 UTC);

fn account(name: &str) -> AccountKey {
    let pem = match name {
        "rsa" => include_str!("testdata/rsa.openssh"),
        "p256" => include_str!("testdata/p256.openssh"),
        "p384" => include_str!("testdata/p384.openssh"),
        _ => include_str!("testdata/ed25519.openssh"),
    };
    AccountKey::parse(pem.as_bytes()).unwrap()
}

fn issued(account: &AccountKey) -> Issued {
    issue(account, "admin", DEFAULT_LIFETIME, NOW).unwrap()
}

#[test]
fn says_what_cmon_looks_at() {
    for (name, algorithm) in [
        ("rsa", "1.2.840.113549.1.1.11"),
        ("p256", "1.2.840.10045.4.3.2"),
        ("p384", "1.2.840.10045.4.3.3"),
        ("ed25519", "1.3.101.112"),
    ] {
        let account = account(name);
        let pem = issued(&account).cert_pem;
        let der = cert_der(pem.as_bytes()).unwrap();
        let cert = parse(&der).unwrap();
        assert_eq!(cert.version().0, 2);
        assert_eq!(
            cert.signature_algorithm.algorithm.to_id_string(),
            algorithm
        );
        // Subject and issuer are one CN each, PrintableString both.
        let issuer = account.md5_fingerprint().to_string();
        for (found, text) in
            [(cert.subject(), "admin"), (cert.issuer(), issuer.as_str())]
        {
            let parts: Vec<_> = found.iter_attributes().collect();
            assert_eq!(parts.len(), 1);
            assert_eq!(parts[0].attr_type().to_id_string(), "2.5.4.3");
            assert_eq!(parts[0].attr_value().tag().0, 19);
            assert_eq!(parts[0].as_str().unwrap(), text);
        }
        let usage = cert.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
        assert_eq!(usage.other.len(), 1);
        assert_eq!(usage.other[0].to_id_string(), "1.3.6.1.4.1.38678.1.4.2");
        let oid = b"\x06\x0b\x2b\x06\x01\x04\x01\x82\xae\x16\x01\x04\x02";
        assert!(der.windows(oid.len()).any(|window| window == oid));
        let usage = cert.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature());
        assert_eq!(usage.value.flags, 1);
        let basic = cert.basic_constraints().unwrap().unwrap();
        assert!(basic.critical && !basic.value.ca);
        assert!(is_signed_by(pem.as_bytes(), &account));
    }
}

#[test]
fn the_key_belongs_to_the_certificate_and_is_p256() {
    let issued = issued(&account("rsa"));
    let key = AccountKey::parse(issued.key_pem.expose().as_bytes()).unwrap();
    let info = inspect(issued.cert_pem.as_bytes()).unwrap();
    assert_eq!(key.kind(), super::super::KeyKind::EcdsaP256);
    assert_eq!(key.public_key_info(), info.public_key_info);
    assert!(!format!("{issued:?}").contains("PRIVATE"));
}

#[test]
fn is_backdated_by_an_hour_and_lasts_as_asked() {
    let account = account("p256");
    let day = Duration::from_secs(86_400);
    let issued = issue(&account, "admin", day, NOW).unwrap();
    assert_eq!(issued.not_before, datetime!(2026-07-01 11:34:56 UTC));
    assert_eq!(issued.not_after, datetime!(2026-07-02 12:34:56 UTC));
    let info = inspect(issued.cert_pem.as_bytes()).unwrap();
    assert_eq!(info.not_before, issued.not_before);
    assert_eq!(info.not_after, issued.not_after);
    assert_eq!(info.subject_cn, "admin");
    assert_eq!(info.issuer_fingerprint, Some(account.md5_fingerprint()));
    assert!(info.for_cmon);
}

#[test]
fn never_reaches_into_2050() {
    let account = account("p256");
    for lifetime in [Duration::from_secs(86_400 * 365 * 30), Duration::MAX] {
        let issued = issue(&account, "admin", lifetime, NOW).unwrap();
        assert_eq!(issued.not_after, LATEST_NOT_AFTER);
        let der = cert_der(issued.cert_pem.as_bytes()).unwrap();
        let cert = parse(&der).unwrap();
        assert!(cert.validity().not_after.is_utctime());
        assert!(cert.validity().not_before.is_utctime());
    }
}

#[test]
fn refuses_a_senseless_clock() {
    for now in [
        OffsetDateTime::UNIX_EPOCH,
        datetime!(2019-12-31 23:59:59 UTC),
        datetime!(2049-12-31 23:59:59 UTC),
        datetime!(9999-12-31 23:59:59 UTC),
    ] {
        let error = issue(&account("p256"), "admin", DEFAULT_LIFETIME, now)
            .unwrap_err();
        assert!(matches!(error, CertgenError::Clock { .. }), "{error}");
    }
}

#[test]
fn refuses_a_login_that_is_no_name_and_takes_odd_ones() {
    let account = account("p256");
    let issue = |login: &str| issue(&account, login, DEFAULT_LIFETIME, NOW);
    for login in ["", " admin", "ad\nmin", "größe", &"x".repeat(65)] {
        let error = issue(login).unwrap_err();
        assert!(matches!(error, CertgenError::Login { .. }), "{error}");
    }
    for login in ["poseidon", "a_b@c.d", &"x".repeat(64)] {
        let pem = issue(login).unwrap().cert_pem;
        assert_eq!(inspect(pem.as_bytes()).unwrap().subject_cn, login);
    }
}

#[test]
fn serials_and_keys_are_new_each_time() {
    let account = account("p256");
    let (a, b) = (issued(&account), issued(&account));
    assert_ne!(a.key_pem.expose(), b.key_pem.expose());
    let serial =
        |issued: &Issued| inspect(issued.cert_pem.as_bytes()).unwrap().serial;
    assert_ne!(serial(&a), serial(&b));
    // 16 bytes, and positive.
    assert_eq!(serial(&a).len(), 16 * 3 - 1);
    assert!(serial(&a).as_str() < "8");
}

#[test]
fn sees_another_signer_behind_the_same_issuer_name() {
    let (rsa, p256) = (account("rsa"), account("p256"));
    let pem = issued(&rsa).cert_pem;
    assert!(is_signed_by(pem.as_bytes(), &rsa));
    assert!(!is_signed_by(pem.as_bytes(), &p256));
    assert!(!is_signed_by(b"", &rsa));
}

fn pair() -> CertInfo {
    CertInfo {
        subject_cn: "admin".to_owned(),
        issuer_fingerprint: Some(account("rsa").md5_fingerprint()),
        not_before: datetime!(2026-01-01 00:00 UTC),
        not_after: datetime!(2026-01-31 00:00 UTC),
        serial: String::new(),
        for_cmon: true,
        public_key_info: Vec::new(),
    }
}

fn reason(
    info: CertInfo,
    key_fits: bool,
    signature_good: bool,
    now: OffsetDateTime,
) -> Option<RenewalReason> {
    let account = account("rsa").md5_fingerprint();
    let found = Found::Pair { info, key_fits, signature_good };
    needs_renewal(&found, &account, "admin", now)
}

#[test]
fn renews_with_a_third_of_the_life_left_and_not_before() {
    let end = pair().not_after;
    let two_thirds = datetime!(2026-01-21 00:00 UTC);
    let second = time::Duration::SECOND;
    assert_eq!(reason(pair(), true, true, pair().not_before), None);
    assert_eq!(reason(pair(), true, true, two_thirds - second), None);
    for now in [two_thirds, end, end + time::Duration::weeks(9)] {
        assert_eq!(
            reason(pair(), true, true, now),
            Some(RenewalReason::Ending(end))
        );
    }
    let start = pair().not_before;
    assert_eq!(
        reason(pair(), true, true, start - second),
        Some(RenewalReason::NotYetValid(start))
    );
}

#[test]
fn renews_what_cmon_would_refuse() {
    let now = datetime!(2026-01-02 00:00 UTC);
    let other = account("p256").md5_fingerprint();
    let cases = [
        (
            CertInfo { issuer_fingerprint: Some(other), ..pair() },
            RenewalReason::OtherAccountKey,
        ),
        (
            CertInfo { issuer_fingerprint: None, ..pair() },
            RenewalReason::OtherAccountKey,
        ),
        (CertInfo { for_cmon: false, ..pair() }, RenewalReason::NotForCmon),
        (
            CertInfo { subject_cn: "poseidon".to_owned(), ..pair() },
            RenewalReason::OtherLogin,
        ),
    ];
    for (info, wanted) in cases {
        assert_eq!(reason(info, true, true, now), Some(wanted));
    }
    assert_eq!(
        reason(pair(), false, true, now),
        Some(RenewalReason::KeyDoesNotFit)
    );
    assert_eq!(
        reason(pair(), true, false, now),
        Some(RenewalReason::BadSignature)
    );
}

proptest! {
    #[test]
    fn changed_certificates_never_panic(
        at: prop::sample::Index,
        byte: u8,
        cut: prop::sample::Index,
        shorten: bool,
    ) {
        use base64::Engine as _;
        static PEM: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let pem = PEM.get_or_init(|| issued(&account("p256")).cert_pem);
        let mut der = cert_der(pem.as_bytes()).unwrap();
        let place = at.index(der.len());
        der[place] = byte;
        if shorten {
            der.truncate(cut.index(der.len()));
        }
        let body = base64::engine::general_purpose::STANDARD.encode(&der);
        let changed = format!(
            "-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----"
        );
        let good = is_signed_by(changed.as_bytes(), &account("p256"));
        let read = inspect(changed.as_bytes()).ok();
        if let Some(info) = read.clone() {
            // Whatever the dates say by now, deciding does not overflow.
            let _ = reason(info, true, good, NOW);
        }
        // What verifies says what it said before.
        prop_assert!(!good || read == inspect(pem.as_bytes()).ok());
    }

    #[test]
    fn rubbish_certificates_never_panic(bytes: Vec<u8>) {
        let _ = inspect(&bytes);
    }
}
