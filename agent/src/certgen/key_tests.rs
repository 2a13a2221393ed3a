// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Every container and key type; the keys and what ssh-keygen says of them
//! are described in testdata/README.md.

use proptest::prelude::*;

use super::*;

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("testdata/", $name)).as_slice()
    };
}

const RSA: &str = "ed:2d:44:c9:cd:03:8a:3a:71:df:4f:34:02:10:1f:3b";
const P256: &str = "b7:d2:b7:2a:d3:c2:19:60:ae:8c:38:c0:8e:1b:b0:68";
const P384: &str = "b1:8c:75:7c:1e:14:58:b7:61:4a:c2:d0:2c:48:36:d6";
const ED25519: &str = "6b:ef:9f:f0:4c:9f:89:75:3d:ad:22:59:17:44:31:8a";
const RSA_2048: KeyKind = KeyKind::Rsa { bits: 2048 };

const GOOD: [(&[u8], KeyKind, &str); 11] = [
    (data!("rsa.pkcs1"), RSA_2048, RSA),
    (data!("rsa.pkcs8"), RSA_2048, RSA),
    (data!("rsa.openssh"), RSA_2048, RSA),
    (data!("p256.sec1"), KeyKind::EcdsaP256, P256),
    (data!("p256.pkcs8"), KeyKind::EcdsaP256, P256),
    (data!("p256.openssh"), KeyKind::EcdsaP256, P256),
    (data!("p256-with-parameters.sec1"), KeyKind::EcdsaP256, P256),
    (data!("p384.sec1"), KeyKind::EcdsaP384, P384),
    (data!("p384.pkcs8"), KeyKind::EcdsaP384, P384),
    (data!("p384.openssh"), KeyKind::EcdsaP384, P384),
    (data!("ed25519.openssh"), KeyKind::Ed25519, ED25519),
];

#[test]
fn reads_every_container_and_names_the_key_as_ssh_keygen_does() {
    for (pem, kind, fingerprint) in GOOD {
        let key = AccountKey::parse(pem).unwrap();
        assert_eq!(key.kind(), kind);
        assert_eq!(key.md5_fingerprint().colon_hex(), fingerprint);
    }
}

#[test]
fn reads_an_ed25519_key_written_by_openssl() {
    let key = AccountKey::parse(data!("ed25519-openssl.pkcs8")).unwrap();
    let public: Vec<String> = key
        .pair()
        .public_key_raw()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        public.concat(),
        "55df82d1a2a21519d0a99f953fa575a798c0096b89c8c7bade3ff05d7d916b91"
    );
}

#[test]
fn one_key_in_three_containers_becomes_one_pkcs8() {
    let der = |pem: &[u8]| container::read_private_key(pem).unwrap().der;
    assert_eq!(der(data!("rsa.pkcs1")), der(data!("rsa.openssh")));
    assert_eq!(der(data!("rsa.pkcs1")), der(data!("rsa.pkcs8")));
    assert_eq!(der(data!("p384.sec1")), der(data!("p384.openssh")));
    assert_eq!(der(data!("p384.sec1")), der(data!("p384.pkcs8")));
}

#[test]
fn forgives_how_metadata_is_filled_in() {
    for (pem, kind, fingerprint) in GOOD {
        let text = std::str::from_utf8(pem).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let spellings = [
            text.trim_end().to_owned(),
            text.replace('\n', "\r\n"),
            text.replace('\n', "\\n"),
            text.replace('\n', "\\r\\n"),
            lines.join(" "),
            lines.join("\n      "),
            format!("\n\n  {}", lines.join("\n\n")),
            format!("comment\n{text}trailer"),
            text.replace('=', ""),
        ];
        for spelling in spellings {
            let key = AccountKey::parse(spelling.as_bytes())
                .unwrap_or_else(|error| panic!("{error}: {spelling}"));
            assert_eq!(key.kind(), kind);
            assert_eq!(key.md5_fingerprint().colon_hex(), fingerprint);
        }
    }
}

/// The error's text for a refused key.
fn refusal(pem: &[u8]) -> String {
    AccountKey::parse(pem).unwrap_err().to_string()
}

#[test]
fn refuses_encrypted_keys_by_name() {
    for (pem, container) in [
        (data!("enc.pkcs1"), "encrypted (PKCS#1)"),
        (data!("enc.pkcs8"), "encrypted (PKCS#8)"),
        (data!("enc.openssh"), "encrypted (OpenSSH, cipher \"aes256-ctr\")"),
    ] {
        let text = refusal(pem);
        assert!(text.contains(container), "{text}");
        assert!(text.contains("accepted is an unencrypted PEM"), "{text}");
    }
}

#[test]
fn refuses_keys_that_cannot_sign_here() {
    for (pem, seen) in [
        (data!("p521.openssh"), "ECDSA P-521"),
        (data!("rsa1024.pkcs1"), "an RSA key of 1024 bits"),
    ] {
        let text = refusal(pem);
        assert!(text.contains(seen), "{text}");
        assert!(text.contains("accepted are RSA of 2048"), "{text}");
    }
}

#[test]
fn says_what_was_there_instead_of_a_key() {
    let long = vec![b'x'; 70_000];
    let cases: [(&[u8], &str); 6] = [
        (b"", "saw nothing"),
        (b"hello", "saw no PEM header"),
        (data!("rsa.openssh.pub"), "saw an SSH public key"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "saw PEM of CERTIFICATE",
        ),
        (&long, "saw 70000 bytes"),
        (b"-----BEGIN RSA PRIVATE KEY-----\nAAAA", "the END line is missing"),
    ];
    for (bytes, seen) in cases {
        let text = refusal(bytes);
        assert!(text.contains(seen), "{text}");
    }
}

#[test]
fn debug_output_and_errors_hold_no_key_material() {
    for (pem, ..) in GOOD {
        let key = AccountKey::parse(pem).unwrap();
        let debug = format!("{key:?}");
        assert!(debug.starts_with("AccountKey { kind: "), "{debug}");
        assert!(debug.len() < 120, "{debug}");
        // Cut within the base64: the error must not quote it.
        let cut = refusal(&pem[..pem.len() / 2]);
        let secret = std::str::from_utf8(&pem[100..120]).unwrap();
        assert!(!cut.contains(secret), "{cut}");
    }
}

#[test]
fn puts_the_larger_prime_first_for_ring() {
    use num_bigint::BigUint;
    // The same key with the primes exchanged, as some generators write it.
    let pem = data!("rsa.pkcs1");
    let whole = container::read_block(pem, "RSA PRIVATE KEY").unwrap();
    let mut reader = Reader::new(Reader::new(&whole).take(0x30).unwrap());
    let numbers: Vec<BigUint> = std::iter::from_fn(|| reader.unsigned())
        .map(BigUint::from_bytes_be)
        .collect();
    let [v, n, e, d, p, q, dp, dq, _] = numbers.as_slice() else {
        panic!("{} numbers", numbers.len());
    };
    let inverse = p.modinv(q).unwrap();
    let parts: Vec<Vec<u8>> = [v, n, e, d, q, p, dq, dp, &inverse]
        .iter()
        .map(|number| der::integer(&number.to_bytes_be()))
        .collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let swapped = to_pem("RSA PRIVATE KEY", &der::element(0x30, &parts));
    let key = AccountKey::parse(swapped.as_bytes()).unwrap();
    assert_eq!(key.md5_fingerprint().colon_hex(), RSA);
}

fn to_pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn label(pem: &[u8]) -> &'static str {
    let text = std::str::from_utf8(pem).unwrap();
    ["RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"]
        .into_iter()
        .find(|label| text.contains(&format!("BEGIN {label}")))
        .unwrap_or("PRIVATE KEY")
}

proptest! {
    /// Bytes changed, removed and added in the PEM text.
    #[test]
    fn changed_text_never_panics(
        which in 0..GOOD.len(),
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..8),
    ) {
        let mut pem = GOOD[which].0.to_vec();
        edit(&mut pem, &edits);
        let _ = AccountKey::parse(&pem);
        let _ = super::super::inspect(&pem);
    }

    /// The same below the base64, where lengths and tags are.
    #[test]
    fn changed_der_never_panics(
        which in 0..GOOD.len(),
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..8),
    ) {
        let pem = GOOD[which].0;
        let mut der = container::read_block(pem, label(pem)).unwrap();
        edit(&mut der, &edits);
        let _ = AccountKey::parse(to_pem(label(pem), &der).as_bytes());
    }

    #[test]
    fn rubbish_never_panics(bytes: Vec<u8>) {
        let _ = AccountKey::parse(&bytes);
        for (pem, ..) in GOOD {
            let _ = AccountKey::parse(to_pem(label(pem), &bytes).as_bytes());
        }
    }
}

fn edit(bytes: &mut Vec<u8>, edits: &[(prop::sample::Index, u8, u8)]) {
    for (at, byte, kind) in edits {
        let at = at.index(bytes.len().max(1));
        match kind {
            0 if at < bytes.len() => bytes[at] = *byte,
            1 if at < bytes.len() => {
                bytes.remove(at);
            }
            _ => bytes.insert(at, *byte),
        }
    }
}
