// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! LDAP over TLS, a connection a task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ldap3_proto::LdapCodec;
use ldap3_proto::proto::{
    LdapBindCred, LdapBindRequest, LdapBindResponse, LdapExtendedResponse,
    LdapModifyRequest, LdapModifyType, LdapMsg, LdapOp, LdapPartialAttribute,
    LdapResult, LdapResultCode, LdapSearchRequest, LdapSearchResultEntry,
    LdapSearchScope,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::filter::matches;
use super::store::{Attributes, Bound, Compared};
use super::{Fault, Ufds};

/// RFC 4532.
const WHO_AM_I: &str = "1.3.6.1.4.1.4203.1.11.3";

/// A self-signed certificate for `*` without names, as UFDS makes its own.
#[derive(Clone, Debug)]
pub struct Certificate {
    cert: CertificateDer<'static>,
    key: Arc<PrivateKeyDer<'static>>,
    /// In PEM.
    pub pem: String,
    /// Its key, in PEM.
    pub key_pem: String,
}

impl Certificate {
    /// A new one.
    ///
    /// Errors: as rcgen's.
    pub fn make() -> Result<Self, rcgen::Error> {
        let key = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::new(Vec::new())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "*");
        let cert = params.self_signed(&key)?;
        let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok(Self {
            cert: cert.der().clone(),
            key: Arc::new(der),
            pem: cert.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// SHA-256, as a pin has it.
    pub fn digest(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.cert);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn acceptor(&self) -> Result<TlsAcceptor, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.cert.clone()], self.key.clone_key())?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// A UFDS that answers; dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Server {
    /// Where.
    pub address: SocketAddr,
    _stop: DropGuard,
}

impl Server {
    /// Serves `ufds` at `address`; port 0 is any.
    ///
    /// Errors: the port is taken, or the certificate no good.
    pub async fn start(
        ufds: &Ufds,
        address: SocketAddr,
        certificate: &Certificate,
    ) -> io::Result<Self> {
        let acceptor = certificate.acceptor().map_err(io::Error::other)?;
        let listener = listen(address).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        tokio::spawn(accept(
            ufds.clone(),
            listener,
            acceptor,
            stop.child_token(),
        ));
        Ok(Self { address, _stop: stop.drop_guard() })
    }
}

/// A port that was just given up may be had again.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let mut tries = 100;
    loop {
        match TcpListener::bind(address).await {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && tries > 0 =>
            {
                tries -= 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            bound => return bound,
        }
    }
}

async fn accept(
    ufds: Ufds,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    stop: CancellationToken,
) {
    loop {
        let taken = tokio::select! {
            () = stop.cancelled() => return,
            taken = listener.accept() => taken,
        };
        let Ok((stream, _)) = taken else { continue };
        let (ufds, acceptor) = (ufds.clone(), acceptor.clone());
        let stop = stop.clone();
        tokio::spawn(async move {
            let talk = async {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = talk(ufds, stream).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = talk => {}
            }
        });
    }
}

async fn talk(
    ufds: Ufds,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut codec = LdapCodec::default();
    let (mut read, mut write) = (BytesMut::new(), BytesMut::new());
    let mut bound = Bound::Nobody;
    loop {
        while let Some(message) = codec.decode(&mut read)? {
            let fault = ufds.state().fault;
            match fault {
                Fault::Slow(late) => tokio::time::sleep(late).await,
                Fault::Silent => std::future::pending().await,
                Fault::Close => return Ok(()),
                Fault::None | Fault::Unavailable | Fault::Lost => {}
            }
            if matches!(message.op, LdapOp::UnbindRequest) {
                return Ok(());
            }
            let down = fault == Fault::Unavailable;
            let lost = fault == Fault::Lost
                && matches!(message.op, LdapOp::CompareRequest(_));
            for op in answer(&ufds, &mut bound, message.op, down) {
                let msgid = message.msgid;
                let answer = LdapMsg { msgid, op, ctrl: Vec::new() };
                codec.encode(answer, &mut write)?;
            }
            if lost {
                return Ok(());
            }
            stream.write_all(&write).await?;
            stream.flush().await?;
            write.clear();
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    }
}

fn answer(
    ufds: &Ufds,
    bound: &mut Bound,
    op: LdapOp,
    down: bool,
) -> Vec<LdapOp> {
    let moray = || result(52, "moray is down");
    match op {
        LdapOp::BindRequest(bind) => vec![do_bind(ufds, bound, bind)],
        LdapOp::SearchRequest(_) if down => {
            vec![LdapOp::SearchResultDone(moray())]
        }
        LdapOp::SearchRequest(search) => do_search(ufds, bound, &search),
        LdapOp::CompareRequest(_) if down => {
            vec![LdapOp::CompareResult(moray())]
        }
        LdapOp::CompareRequest(compare) => {
            let mut state = ufds.state();
            if compare.atype.eq_ignore_ascii_case("userpassword") {
                state.asked.compares.push(compare.dn.clone());
            }
            let said = match state.store.may(bound, &compare.dn) {
                false => result(50, ""),
                true => {
                    let Compared(rc, text) = state.store.compare(
                        &compare.dn,
                        &compare.atype,
                        &compare.val,
                    );
                    result(rc, &text)
                }
            };
            vec![LdapOp::CompareResult(said)]
        }
        LdapOp::ModifyRequest(modify) => {
            vec![LdapOp::ModifyResponse(do_modify(ufds, bound, modify))]
        }
        LdapOp::ExtendedRequest(request) if request.name == WHO_AM_I => {
            let who = match bound {
                Bound::Nobody => String::new(),
                Bound::Root => format!("dn:{}", super::ROOT_DN),
                Bound::Account(dn) => format!("dn:{dn}"),
            };
            vec![LdapOp::ExtendedResponse(LdapExtendedResponse {
                res: result(0, ""),
                name: None,
                value: Some(who.into_bytes()),
            })]
        }
        LdapOp::ExtendedRequest(_) => {
            vec![LdapOp::ExtendedResponse(LdapExtendedResponse {
                res: result(2, "unknown extended operation"),
                name: None,
                value: None,
            })]
        }
        _ => Vec::new(),
    }
}

fn do_bind(ufds: &Ufds, bound: &mut Bound, bind: LdapBindRequest) -> LdapOp {
    let mut state = ufds.state();
    state.asked.binds += 1;
    let res = match (bind.version, bind.cred) {
        (3, LdapBindCred::Simple(password)) => {
            match state.store.bind(&bind.dn, &password) {
                Ok(who) => {
                    *bound = who;
                    result(0, "")
                }
                Err(Compared(rc, text)) => result(rc, &text),
            }
        }
        (3, _) => result(7, ""),
        _ => result(2, "LDAP version must be 3"),
    };
    LdapOp::BindResponse(LdapBindResponse { res, saslcreds: None })
}

fn do_search(
    ufds: &Ufds,
    bound: &Bound,
    search: &LdapSearchRequest,
) -> Vec<LdapOp> {
    let mut state = ufds.state();
    state.asked.searches += 1;
    let done = |rc, text: &str| LdapOp::SearchResultDone(result(rc, text));
    if !state.store.may(bound, &search.base) {
        return vec![done(50, "")];
    }
    let within = |depth: usize| match search.scope {
        LdapSearchScope::Base => depth == 0,
        LdapSearchScope::OneLevel => depth == 1,
        LdapSearchScope::Subtree => true,
        LdapSearchScope::Children => depth > 0,
    };
    let Some(found) = state.store.below(&search.base, within) else {
        return vec![done(32, &search.base)];
    };
    let mut answers = Vec::new();
    let most = usize::try_from(search.sizelimit).unwrap_or(0);
    for (dn, entry) in found {
        if !matches(&search.filter, entry) {
            continue;
        }
        if most > 0 && answers.len() == most {
            answers.push(done(4, ""));
            return answers;
        }
        let shown = state.store.shown(dn, entry);
        answers.push(LdapOp::SearchResultEntry(LdapSearchResultEntry {
            dn: dn.clone(),
            attributes: chosen(&shown, &search.attrs),
        }));
    }
    answers.push(done(0, ""));
    answers
}

fn chosen(all: &Attributes, names: &[String]) -> Vec<LdapPartialAttribute> {
    let wanted = |name: &String| {
        names.is_empty()
            || names.iter().any(|it| it == "*" || it.eq_ignore_ascii_case(name))
    };
    let chosen = all.iter().filter(|(name, _)| wanted(name));
    chosen
        .map(|(name, values)| LdapPartialAttribute {
            atype: name.clone(),
            vals: values.iter().map(|it| it.clone().into_bytes()).collect(),
        })
        .collect()
}

fn do_modify(
    ufds: &Ufds,
    bound: &Bound,
    modify: LdapModifyRequest,
) -> LdapResult {
    let mut state = ufds.state();
    if !state.store.may(bound, &modify.dn) {
        return result(50, "");
    }
    for change in modify.changes {
        let attribute = change.modification;
        let values = attribute.vals.into_iter();
        let values = values.map(|it| String::from_utf8_lossy(&it).into_owned());
        let Compared(rc, text) = state.store.modify(
            &modify.dn,
            change.operation != LdapModifyType::Delete,
            &attribute.atype,
            values.collect(),
        );
        if rc != 0 {
            return result(rc, &text);
        }
    }
    result(0, "")
}

fn result(rc: i64, text: &str) -> LdapResult {
    let code = match rc {
        0 => LdapResultCode::Success,
        2 => LdapResultCode::ProtocolError,
        4 => LdapResultCode::SizeLimitExceeded,
        5 => LdapResultCode::CompareFalse,
        6 => LdapResultCode::CompareTrue,
        7 => LdapResultCode::AuthMethodNotSupported,
        16 => LdapResultCode::NoSuchAttribute,
        32 => LdapResultCode::NoSuchObject,
        34 => LdapResultCode::InvalidDNSyntax,
        49 => LdapResultCode::InvalidCredentials,
        50 => LdapResultCode::InsufficentAccessRights,
        52 => LdapResultCode::Unavailable,
        _ => LdapResultCode::OperationsError,
    };
    LdapResult {
        code,
        matcheddn: String::new(),
        message: text.to_owned(),
        referral: Vec::new(),
    }
}
