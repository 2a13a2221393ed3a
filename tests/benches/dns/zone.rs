// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A zone as CNS publishes it, and questions about it: per machine an alias
//! and a uuid name with A and TXT, per service one of each for every member
//! and for some a SRV. All follows from a seed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fastrand::Rng;
use uuid::Builder;

use crate::probe::question;

pub(crate) const ORIGIN: &str = "us-east-1.cns.example.com";
const TTL: u32 = 30;
const SERVICES: [&str; 8] =
    ["web", "api", "db", "cache", "queue", "auth", "search", "proxy"];
const ROLES: [&str; 6] = ["app", "node", "worker", "dbsrv", "edge", "batch"];

/// The zone's file, and what can be asked about it.
pub(crate) struct Zone {
    pub(crate) file: PathBuf,
    /// A name with an A record, written last.
    pub(crate) probe: String,
    rng: Rng,
    accounts: Vec<String>,
    aliases: Vec<String>,
    uuids: Vec<String>,
    services: Vec<String>,
    with_srv: Vec<String>,
    next_ip: u32,
}

/// The file being written: no record more than there must be.
struct Out {
    to: BufWriter<File>,
    left: usize,
}

impl Out {
    /// Whether there was still room.
    fn add(&mut self, owner: &str, rtype: &str, data: &str) -> Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        writeln!(self.to, "{owner} {TTL} IN {rtype} {data}")?;
        Ok(true)
    }
}

impl Zone {
    /// Writes a zone of exactly `records` records, SOA and NS among them. Of
    /// another `edition` serial and addresses are others.
    pub(crate) fn write(
        dir: &Path,
        records: usize,
        edition: u32,
    ) -> Result<Self> {
        let file = dir.join(format!("{records}-{edition}.zone"));
        let to = File::create(&file).context("zone file")?;
        let mut out = Out { to: BufWriter::new(to), left: records };
        let mut zone = Self {
            file,
            probe: String::new(),
            rng: Rng::with_seed(1),
            accounts: Vec::new(),
            aliases: Vec::new(),
            uuids: Vec::new(),
            services: Vec::new(),
            with_srv: Vec::new(),
            next_ip: ((10 + edition) << 24) + 256,
        };
        writeln!(out.to, "$ORIGIN {ORIGIN}.")?;
        let soa = format!(
            "ns0.{ORIGIN}. hostmaster.example.com. {} 30 60 2592000 30",
            1000 + edition
        );
        out.add("@", "SOA", &soa)?;
        out.add("@", "NS", &format!("ns0.{ORIGIN}."))?;
        out.add("ns0", "A", "127.0.0.1")?;
        while out.left > 0 {
            zone.account(&mut out)?;
        }
        out.to.flush()?;
        zone.probe = zone.aliases.last().context("no machine")?.clone();
        Ok(zone)
    }

    /// An account's machines, then its services: each machine stands behind
    /// exactly one.
    fn account(&mut self, out: &mut Out) -> Result<()> {
        let account = self.uuid();
        self.accounts.push(account.clone());
        // A few accounts own most machines.
        let size = self.rng.f64().max(1e-9).powf(-1.0 / 1.1) * 6.0;
        let mut machines = Vec::new();
        for number in 0..size.min(399.0) as usize {
            let uuid = self.uuid();
            let role = ROLES[self.rng.usize(..ROLES.len())];
            let alias = format!("{role}-{number:03}-{}", &uuid[..6]);
            machines.push((alias, uuid, self.address()));
        }
        for (alias, uuid, address) in &machines {
            let text = format!("\"{uuid}\"");
            for (label, list) in
                [(alias, &mut self.aliases), (uuid, &mut self.uuids)]
            {
                let owner = format!("{label}.inst.{account}");
                if out.add(&owner, "A", address)? {
                    list.push(owner.clone());
                }
                out.add(&owner, "TXT", &text)?;
            }
        }
        self.rng.shuffle(&mut machines);
        let mut left = &machines[..];
        let mut number = 0;
        while !left.is_empty() {
            let count = self.members().min(left.len());
            let (members, rest) = left.split_at(count);
            self.service(out, &account, number, members)?;
            (left, number) = (rest, number + 1);
        }
        Ok(())
    }

    fn service(
        &mut self,
        out: &mut Out,
        account: &str,
        number: usize,
        members: &[(String, String, String)],
    ) -> Result<()> {
        let name = SERVICES[number % SERVICES.len()];
        let owner = format!("{name}{number}.svc.{account}");
        let srv = number % 3 == 1;
        let mut whole = true;
        for (alias, uuid, address) in members {
            whole &= out.add(&owner, "A", address)?;
            whole &= out.add(&owner, "TXT", &format!("\"{uuid}\""))?;
            if srv {
                let port = 8080 + number;
                let target = format!("{alias}.inst.{account}.{ORIGIN}.");
                let data = format!("0 10 {port} {target}");
                whole &= out.add(&owner, "SRV", &data)?;
            }
        }
        if whole {
            self.services.push(owner.clone());
        }
        // Of more members the answer would exceed 512 bytes.
        if whole && srv && members.len() <= 3 {
            self.with_srv.push(owner);
        }
        Ok(())
    }

    /// How many machines stand behind one service.
    fn members(&mut self) -> usize {
        match self.rng.u8(..100) {
            0..45 => self.rng.usize(1..=3),
            45..85 => self.rng.usize(4..=8),
            _ => self.rng.usize(9..=20),
        }
    }

    fn uuid(&mut self) -> String {
        let bytes = self.rng.u128(..).to_be_bytes();
        Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    fn address(&mut self) -> String {
        self.next_ip += 1;
        while matches!(self.next_ip & 255, 0 | 255) {
            self.next_ip += 1;
        }
        std::net::Ipv4Addr::from(self.next_ip).to_string()
    }

    /// A file of `count` questions for dnsperf: 80 % A, 10 % of names that do
    /// not exist, 5 % SRV and TXT, 5 % AAAA that are empty.
    pub(crate) fn questions(&mut self, count: usize) -> Result<PathBuf> {
        let path = self.file.with_extension("questions");
        let mut out = BufWriter::new(File::create(&path)?);
        for _ in 0..count {
            let (owner, rtype) = self.question();
            writeln!(out, "{owner}.{ORIGIN} {rtype}")?;
        }
        out.flush()?;
        Ok(path)
    }

    /// `count` questions for addresses, as messages.
    pub(crate) fn queries(&mut self, count: usize) -> Vec<Vec<u8>> {
        let owner = |zone: &mut Self| {
            let at = zone.rng.usize(..zone.uuids.len());
            format!("{}.{ORIGIN}", zone.uuids[at])
        };
        (0..count).map(|_| question(0, 0, &owner(self), [0, 1])).collect()
    }

    fn question(&mut self) -> (String, &'static str) {
        let (kind, which) = (self.rng.u8(..100), self.rng.u8(..100));
        let (list, rtype) = match (kind, which) {
            (0..80, 0..50) => (&self.aliases, "A"),
            (0..80, 50..75) => (&self.uuids, "A"),
            (0..80, _) => (&self.services, "A"),
            (80..90, _) => return (self.absent(which), "A"),
            (90..95, 0..50) => (&self.with_srv, "SRV"),
            (90..95, _) => (&self.aliases, "TXT"),
            _ => (&self.aliases, "AAAA"),
        };
        (list[self.rng.usize(..list.len())].clone(), rtype)
    }

    /// A name that does not exist, mostly below an account that does.
    fn absent(&mut self, percent: u8) -> String {
        let account = match percent {
            0..80 => {
                self.accounts[self.rng.usize(..self.accounts.len())].clone()
            }
            _ => self.uuid(),
        };
        let kind = if self.rng.u8(..10) < 7 { "inst" } else { "svc" };
        format!("nope-{:010x}.{kind}.{account}", self.rng.u64(..1 << 40))
    }
}
