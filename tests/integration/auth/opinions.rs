// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Second opinions: Triton's own client of UFDS on our stand-in, and a real
//! LDAP server under our client.

use std::net::SocketAddr;
use std::path::Path;

use localdc::agent_bench::Bench;
use localdc::loopback::own_port;
use localdc::ufds::{Certificate, Server, Ufds};
use serde_json::{Value, json};

use super::{BOSS, CUSTOMER, House, PASSWORD, ROOT_PASSWORD, eventually};

/// Where setup.sh puts Triton's own client.
const CLIENT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../target/ufds-client");

/// The stand-in answers as UFDS does: the client that Triton's services use
/// understands it, and makes of it what it makes of UFDS.
#[tokio::test]
async fn tritons_own_client_takes_the_stand_in_for_ufds() {
    let ufds = Ufds::new(ROOT_PASSWORD);
    ufds.account(BOSS, "boss", PASSWORD, &[]);
    ufds.operator(BOSS);
    let certificate = Certificate::make().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::start(&ufds, any, &certificate).await.unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/ufds-client.cjs");
    assert!(Path::new(CLIENT).exists(), "{CLIENT}: run tests/setup.sh test");
    let bench = Bench::new().await;
    let ended = bench
        .shell(&format!(
            "node {script} {CLIENT} ldaps://{} {ROOT_PASSWORD} boss {PASSWORD}",
            server.address
        ))
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let said: Vec<Value> = ended
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let wrong = json!(["wrong", "InvalidCredentialsError"]);
    let mut wanted = vec![
        json!(["dn", format!("uuid={BOSS}, ou=users, o=smartdc")]),
        json!(["login", "boss"]),
        json!(["email", "boss@example.test"]),
        json!(["admin", true]),
        json!(["password shown", false]),
        json!(["other case", "ResourceNotFoundError"]),
        json!(["right", "boss"]),
    ];
    wanted.extend(vec![wrong; 6]);
    wanted.extend([
        json!(["locked", "InvalidCredentialsError"]),
        json!(["failures", 6]),
        json!(["locked until", true]),
        json!(["unlocked", "boss"]),
    ]);
    assert_eq!(said, wanted, "{ended:?}");
}

/// A directory of OpenLDAP's server, as far as it can look like UFDS.
struct Slapd {
    bench: Bench,
    at: SocketAddr,
}

const LDIF: &str = "\
dn: o=smartdc\nobjectClass: organization\no: smartdc\n\n\
dn: ou=users,o=smartdc\nobjectClass: organizationalUnit\nou: users\n\n\
dn: ou=groups,o=smartdc\nobjectClass: organizationalUnit\nou: groups\n\n\
dn: uuid=BOSS,ou=users,o=smartdc\nobjectClass: sdcperson\nuuid: BOSS\n\
login: boss\nemail: boss@example.test\nuserPassword: secret\n\
givenName: Zo\u{eb}\n\n\
dn: uuid=CUSTOMER,ou=users,o=smartdc\nobjectClass: sdcperson\n\
uuid: CUSTOMER\nlogin: customer\nemail: c@example.test\n\
userPassword: secret\n\n\
dn: cn=operators,ou=groups,o=smartdc\nobjectClass: groupOfUniqueNames\n\
cn: operators\nuniqueMember: uuid=BOSS,ou=users,o=smartdc\n";

impl Slapd {
    async fn start() -> Self {
        let bench = Bench::new().await;
        let certificate = Certificate::make().unwrap();
        let path = |name: &str| bench.path(name).display().to_string();
        bench.write(&bench.path("cert.pem"), &certificate.pem);
        bench.write(&bench.path("key.pem"), &certificate.key_pem);
        let attribute = |number: u32, name: &str| {
            format!(
                "attributetype ( 1.3.6.1.4.1.38678.99.{number} NAME '{name}' \
                 EQUALITY caseExactMatch \
                 SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n"
            )
        };
        let database = |suffix: &str, folder: &str| {
            format!(
                "database mdb\nsuffix \"{suffix}\"\ndirectory {}\n\
                 maxsize 10485760\n",
                path(folder)
            )
        };
        let conf = format!(
            "modulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             include /etc/ldap/schema/core.schema\n\
             include /etc/ldap/schema/cosine.schema\n{}{}\
             objectclass ( 1.3.6.1.4.1.38678.99.9 NAME 'sdcperson' SUP top \
             STRUCTURAL MUST ( login $ uuid $ email $ userPassword ) \
             MAY ( cn $ sn $ givenName ) )\n\
             pidfile {}\nTLSCertificateFile {}\nTLSCertificateKeyFile {}\n\
             {}rootdn \"cn=root\"\nrootpw {ROOT_PASSWORD}\n\
             {}access to * by dn.exact=\"cn=root\" manage by * none\n",
            attribute(1, "login"),
            attribute(2, "uuid"),
            path("slapd.pid"),
            path("cert.pem"),
            path("key.pem"),
            database("cn=root", "db-root"),
            database("o=smartdc", "db"),
        );
        bench.write(&bench.path("slapd.conf"), conf);
        let ldif = LDIF.replace("BOSS", BOSS).replace("CUSTOMER", CUSTOMER);
        bench.write(&bench.path("data.ldif"), ldif);
        let at = own_port().unwrap();
        let slapd = "PATH=$PATH:/usr/sbin";
        let ended = bench
            .shell(&format!(
                "{slapd}; mkdir db db-root; \
                 slapadd -f slapd.conf -b o=smartdc -l data.ldif"
            ))
            .await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let start =
            format!("/usr/sbin/slapd -d 0 -f slapd.conf -h ldaps://{at}/");
        bench.unit("slapd", &start);
        let slapd = Self { bench, at };
        slapd.up().await;
        slapd
    }

    async fn up(&self) {
        self.bench.shell("systemctl restart slapd").await;
        eventually("slapd listens", async || {
            tokio::net::TcpStream::connect(self.at).await.ok()
        })
        .await;
    }
}

/// TLS, framing, filters, DNs without spaces and names in other cases of a
/// server that we did not write; and its end and return.
#[tokio::test]
async fn a_real_ldap_server_is_understood_too() {
    let slapd = Slapd::start().await;
    let more = json!({"grafana_ufds": [slapd.at.to_string()]});
    let house = House::open_with(more).await;
    let answer = house.get(Some("boss")).await;
    assert_eq!(answer.status, 200, "{answer:?} {}", house.log());
    let asked = house.zone.grafana.asked();
    let all = format!("{:?}", asked[0].headers);
    assert!(all.contains("Zo=C3=AB"), "{all}");
    for pair in [
        "Boss:secret",
        "boss:wrong",
        "customer:secret",
        "*:secret",
        "b*:secret",
        "bo(ss:secret",
        "boss)(uuid=*:secret",
        "a\\:secret",
    ] {
        let address = format!("198.51.100.{}", pair.len());
        let answer = house.direct(&address, pair, &[]).await;
        assert_eq!(answer.status, 401, "{pair}: {}", house.log());
    }
    let cookie = house.session("boss").await;
    slapd.bench.shell("kill -9 \"$(cat slapd.pid)\"").await;
    eventually("nobody new comes in", async || {
        let answer = house.form("customer", "x", "/").await;
        (answer.status == 503).then_some(())
    })
    .await;
    assert_eq!(house.with(&cookie).await.status, 200);
    slapd.up().await;
    eventually("it is asked again", async || {
        let answer = house.form("customer", "x", "/").await;
        (answer.status == 401).then_some(())
    })
    .await;
}
