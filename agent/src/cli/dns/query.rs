// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb dns query: the question, the way it goes, and the answer.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{encode, get, read};
use crate::cli::page::PageArgs;
use crate::dns::{self, Answerer, Reply, Way};
use crate::status::columns;

/// Above what the server gives itself for a question.
const LIMIT: Duration = Duration::from_secs(6);

#[derive(Args)]
pub(super) struct QueryArgs {
    /// Name to ask for
    name: String,
    /// Type, by name or as TYPEn
    #[arg(default_value = "A", value_name = "TYPE")]
    rtype: String,
    /// Ask over TCP; otherwise over UDP, and TCP when that is cut short
    #[arg(long)]
    tcp: bool,
    /// Address of the name server, over the configuration's dnsListen
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<SocketAddr>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    page: PageArgs,
}

pub(super) async fn query(args: QueryArgs) -> Result<bool> {
    let server = match args.server {
        Some(server) => server,
        None => match args.page.config()?.dns_listen.first() {
            Some(server) => *server,
            None => bail!("dnsListen is empty: no name server runs"),
        },
    };
    let (name, rtype) = (&args.name, &args.rtype);
    let path =
        format!("/dns/ways?name={}&type={}", encode(name), encode(rtype));
    // Before the question, which may fill the cache.
    let ways: Vec<Way> = read(get(&args.page, &path).await?)?;
    let reply = dns::query(server, name, rtype, args.tcp, LIMIT)
        .await
        .context("the question was not answered")?;
    if args.json {
        let told = serde_json::json!({
            "server": server, "ways": ways, "reply": reply,
        });
        say!("{}", serde_json::to_string_pretty(&told)?);
    } else {
        say!("{}", table(server, &ways, &reply).trim_end());
    }
    Ok(reply.rcode == "NOERROR")
}

fn table(server: SocketAddr, ways: &[Way], reply: &Reply) -> String {
    let mut rows = vec![vec![
        "answer".to_owned(),
        format!(
            "{} ({}), {} bytes from {server} over {} in {:.1} ms",
            reply.rcode,
            reply.flags.join(" "),
            reply.bytes,
            reply.over,
            Duration::from_micros(reply.took_us).as_secs_f64() * 1000.0
        ),
    ]];
    for way in ways {
        rows.push(vec!["way".to_owned(), describe(way)]);
    }
    let mut out = String::new();
    columns(&mut out, &rows);
    let sections = [
        ("ANSWER", &reply.answer),
        ("AUTHORITY", &reply.authority),
        ("ADDITIONAL", &reply.additional),
    ];
    for (head, records) in sections {
        if records.is_empty() {
            continue;
        }
        out.push('\n');
        let words = [head, "TTL", "TYPE", "DATA"];
        let mut rows = vec![words.map(str::to_owned).to_vec()];
        rows.extend(records.iter().map(|record| {
            vec![
                record.name.clone(),
                record.ttl.to_string(),
                record.rtype.clone(),
                record.data.clone(),
            ]
        }));
        columns(&mut out, &rows);
    }
    out
}

/// A way in words: `a.example.: zone example, serial 5, from 192.0.2.1:53`.
fn describe(way: &Way) -> String {
    let zone = way.zone.as_deref().unwrap_or("-");
    let servers = way.servers.join(", ");
    let from = if way.cached { "cached, from" } else { "from" };
    let by = match way.by {
        Answerer::Zone => {
            let serial = way.serial.unwrap_or_default();
            format!("zone {zone}, serial {serial}, from {servers}")
        }
        Answerer::Primary => {
            format!("no copy of zone {zone} yet; primary, {from} {servers}")
        }
        Answerer::Binder => format!("binder of {zone}, {from} {servers}"),
        Answerer::Public => format!("public for {zone}, {from} {servers}"),
        Answerer::Local => "local, by rule".to_owned(),
        Answerer::Nobody => "nobody; refused".to_owned(),
    };
    format!("{}: {by}", way.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_told_in_words() {
        let way = Way {
            name: "a.example.".to_owned(),
            by: Answerer::Zone,
            zone: Some("example".to_owned()),
            serial: Some(5),
            servers: vec!["192.0.2.1:53".to_owned()],
            cached: false,
        };
        assert_eq!(
            describe(&way),
            "a.example.: zone example, serial 5, from 192.0.2.1:53"
        );
        let public = Way {
            by: Answerer::Public,
            zone: Some(".".to_owned()),
            cached: true,
            ..way
        };
        assert_eq!(
            describe(&public),
            "a.example.: public for ., cached, from 192.0.2.1:53"
        );
    }
}
