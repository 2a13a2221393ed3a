// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Zones under one authority, judged by a TLS stack that is not ours.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls::{ServerConfig, ServerConnection};

use super::*;

/// rustls looks at the clock itself.
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc().replace_nanosecond(0).unwrap()
}

fn authority(made: &MadeAuthority) -> Authority {
    Authority::parse(&made.certificate, &made.private_key, now()).unwrap()
}

/// What `Authority::parse` says.
fn refused(certificates: &str, key: &Secret<String>) -> String {
    refused_at(certificates, key, now())
}

fn refused_at(
    certificates: &str,
    key: &Secret<String>,
    now: OffsetDateTime,
) -> String {
    match Authority::parse(certificates, key, now) {
        Ok(_) => panic!("taken"),
        Err(error) => error.to_string(),
    }
}

struct Zone {
    _folder: tempfile::TempDir,
    paths: RegionPaths,
    names: Vec<String>,
}

fn zone(names: &[&str]) -> Zone {
    let folder = tempfile::tempdir().unwrap();
    let at = |name| folder.path().join("tls").join(name);
    let paths = RegionPaths {
        key: at("grpc.key"),
        cert: at("grpc.crt"),
        ca: at("ca.crt"),
        owner: None,
    };
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Zone { _folder: folder, paths, names }
}

impl Zone {
    fn ensure(&self, authority: &Authority, now: OffsetDateTime) -> Zonal {
        ensure_region(&self.paths, authority, &self.names, now).unwrap()
    }

    fn bytes(&self) -> [Vec<u8>; 3] {
        [&self.paths.key, &self.paths.cert, &self.paths.ca]
            .map(|path| fs::read(path).unwrap())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_file_iter(&self.paths.ca).unwrap() {
            roots.add(cert.unwrap()).unwrap();
        }
        Arc::new(roots)
    }

    fn pair(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let certs = CertificateDer::pem_file_iter(&self.paths.cert).unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.paths.key).unwrap();
        (certs.map(Result::unwrap).collect(), key)
    }
}

/// Both sides of a handshake, as far as it goes; the error is that of
/// whoever refused.
fn meet(client: &Zone, server: &Zone, name: &str) -> Result<(), String> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let (certs, key) = client.pair();
    let tls = ClientConfig::builder_with_provider(Arc::clone(&ring))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(client.roots())
        .with_client_auth_cert(certs, key)
        .unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut asks = ClientConnection::new(Arc::new(tls), name).unwrap();
    let (certs, key) = server.pair();
    let verifier = WebPkiClientVerifier::builder_with_provider(
        server.roots(),
        Arc::clone(&ring),
    )
    .build()
    .unwrap();
    let tls = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certs, key)
        .unwrap();
    let mut answers = ServerConnection::new(Arc::new(tls)).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        asks.write_tls(&mut wire).unwrap();
        answers.read_tls(&mut wire.as_slice()).unwrap();
        answers.process_new_packets().map_err(|e| format!("server: {e}"))?;
        let mut wire = Vec::new();
        answers.write_tls(&mut wire).unwrap();
        asks.read_tls(&mut wire.as_slice()).unwrap();
        asks.process_new_packets().map_err(|e| format!("client: {e}"))?;
    }
    assert!(!asks.is_handshaking() && !answers.is_handshaking());
    Ok(())
}

#[test]
fn two_zones_know_each_other_and_nobody_else() {
    let made = make_authority("thanos", now()).unwrap();
    let ours = authority(&made);
    let one = zone(&["10.1.0.50", "thanos.dc1.t.test"]);
    let two = zone(&["thanos.r2.test", "10.2.0.50", "fd00::50"]);
    assert!(one.ensure(&ours, now()).changed);
    assert!(two.ensure(&ours, now()).changed);
    for path in [&one.paths.key, &one.paths.cert, &one.paths.ca] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{path:?}");
    }
    meet(&one, &two, "thanos.r2.test").unwrap();
    meet(&one, &two, "10.2.0.50").unwrap();
    meet(&one, &two, "fd00::50").unwrap();
    meet(&two, &one, "10.1.0.50").unwrap();
    let wrong = meet(&one, &two, "thanos.r3.test").unwrap_err();
    assert!(wrong.starts_with("client: invalid peer cert"), "{wrong}");

    // The same name, another key.
    let foreign = make_authority("thanos", now()).unwrap();
    let stranger = zone(&["10.2.0.50"]);
    stranger.ensure(&authority(&foreign), now());
    let said = meet(&one, &stranger, "10.2.0.50").unwrap_err();
    assert!(said.starts_with("client: invalid peer cert"), "{said}");
    // One that would trust us is still not trusted.
    fs::copy(&one.paths.ca, &stranger.paths.ca).unwrap();
    let said = meet(&stranger, &one, "10.1.0.50").unwrap_err();
    assert!(said.starts_with("server: invalid peer cert"), "{said}");
}

#[test]
fn renewed_under_the_same_key_when_a_third_is_left() {
    let ours = authority(&make_authority("thanos", now()).unwrap());
    let zone = zone(&["10.1.0.50"]);
    let begin = now();
    let first = zone.ensure(&ours, begin);
    assert_eq!(first.not_after, begin + LIFETIME);
    let before = zone.bytes();
    let whole = LIFETIME + BACKDATED;
    let due = first.not_after - whole / 3;
    let still = zone.ensure(&ours, due - Duration::SECOND);
    assert!(!still.changed);
    assert_eq!(zone.bytes(), before);
    let renewed = zone.ensure(&ours, due);
    assert!(renewed.changed);
    assert_eq!(renewed.not_after, due + LIFETIME);
    let after = zone.bytes();
    assert_eq!(after[0], before[0], "the same key");
    assert_ne!(after[1], before[1]);
    assert!(!zone.ensure(&ours, due).changed);
    // Ended, or from the future: the same.
    assert!(zone.ensure(&ours, due + LIFETIME * 3).changed);
    assert!(zone.ensure(&ours, begin).changed);
}

#[test]
fn what_is_not_as_wanted_is_made_anew() {
    let made = make_authority("thanos", now()).unwrap();
    let ours = authority(&made);
    let mut zone = zone(&["10.1.0.50", "a.test"]);
    zone.ensure(&ours, now());
    zone.names.swap(0, 1);
    assert!(!zone.ensure(&ours, now()).changed, "order is nothing");
    zone.names.push("b.test".to_owned());
    assert!(zone.ensure(&ours, now()).changed);
    meet(&zone, &zone, "b.test").unwrap();
    for path in [&zone.paths.key, &zone.paths.cert, &zone.paths.ca] {
        fs::write(path, "damaged").unwrap();
        assert!(zone.ensure(&ours, now()).changed, "{path:?}");
        meet(&zone, &zone, "a.test").unwrap();
    }
    let cert = fs::read(&zone.paths.cert).unwrap();
    fs::remove_file(&zone.paths.key).unwrap();
    assert!(zone.ensure(&ours, now()).changed);
    assert_ne!(fs::read(&zone.paths.cert).unwrap(), cert);
    meet(&zone, &zone, "a.test").unwrap();
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(&zone.paths.key, open).unwrap();
    assert!(!zone.ensure(&ours, now()).changed);
    let mode = fs::metadata(&zone.paths.key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Old and new beside each other; then the new key; then the old one goes.
#[test]
fn an_authority_is_replaced_without_a_gap() {
    let [old, new] = [(); 2].map(|()| make_authority("t", now()).unwrap());
    let both = format!("{}{}", old.certificate, new.certificate);
    let parse = |certs: &str, made: &MadeAuthority| {
        Authority::parse(certs, &made.private_key, now()).unwrap()
    };
    let one = zone(&["10.1.0.50"]);
    let two = zone(&["10.2.0.50"]);
    let met = || {
        meet(&one, &two, "10.2.0.50").unwrap();
        meet(&two, &one, "10.1.0.50").unwrap();
    };
    one.ensure(&parse(&old.certificate, &old), now());
    two.ensure(&parse(&old.certificate, &old), now());
    for step in
        [parse(&both, &old), parse(&both, &new), parse(&new.certificate, &new)]
    {
        for zone in [&one, &two] {
            assert!(zone.ensure(&step, now()).changed);
            met();
        }
    }
    let bundle = fs::read_to_string(&one.paths.ca).unwrap();
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 1);
}

#[test]
fn an_authority_that_cannot_sign_is_refused() {
    let made = make_authority("thanos", now()).unwrap();
    let other = make_authority("thanos", now()).unwrap();
    let said = refused(&made.certificate, &other.private_key);
    assert!(said.contains("fits its private key"), "{said}");
    let said = refused("nothing", &made.private_key);
    assert!(said.contains("saw no PEM header"), "{said}");
    let late = now() + AUTHORITY_LIFETIME;
    let said = refused_at(&made.certificate, &made.private_key, late);
    assert!(said.contains("is valid from"), "{said}");
    // A zone's own pair vouches for nobody.
    let zone = zone(&["10.1.0.50"]);
    zone.ensure(&authority(&made), now());
    let key = fs::read_to_string(&zone.paths.key).unwrap();
    let cert = fs::read_to_string(&zone.paths.cert).unwrap();
    let said = refused(&cert, &Secret::new(key));
    assert!(said.contains("no authority's"), "{said}");
}

#[test]
fn no_certificate_outlives_its_authority() {
    let begin = now();
    let ours = authority(&make_authority("thanos", begin).unwrap());
    let zone = zone(&["10.1.0.50"]);
    let late = begin + AUTHORITY_LIFETIME - Duration::days(9);
    let zonal = zone.ensure(&ours, late);
    assert_eq!(zonal.not_after, begin + AUTHORITY_LIFETIME);
    assert!(zonal.warnings[0].contains("ends at"), "{zonal:?}");
    assert!(!zone.ensure(&ours, late).changed);
}

#[test]
fn files_of_the_operator_are_judged() {
    let made = make_authority("thanos", now()).unwrap();
    let [one, two] = ["10.1.0.50", "10.2.0.50"].map(|name| zone(&[name]));
    one.ensure(&authority(&made), now());
    two.ensure(&authority(&made), now());
    let judge = |cert: &Zone, key: &Zone, ca: &Path, now| {
        judge_given(&cert.paths.cert, &key.paths.key, ca, now)
    };
    let ca = &one.paths.ca;
    assert_eq!(judge(&one, &one, ca, now()).unwrap(), [""; 0]);
    let late = judge(&one, &one, ca, now() + LIFETIME).unwrap();
    assert_eq!(late.len(), 1, "{late:?}");
    let said = judge(&one, &two, ca, now()).unwrap_err().to_string();
    assert!(said.contains("is not the key of"), "{said}");
    let said = judge(&one, &one, &one.paths.key, now()).unwrap_err();
    let said = said.to_string();
    assert!(said.contains("saw PEM of PRIVATE KEY"), "{said}");
    let nowhere = Path::new("/nonexistent/ca.crt");
    let said = judge(&one, &one, nowhere, now()).unwrap_err().to_string();
    assert!(said.contains("ca.crt is not there"), "{said}");
}
