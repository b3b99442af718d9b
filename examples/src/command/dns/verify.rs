//! `clonepanel dns verify`.

use super::{Copies, desired::Wanted, servers::cluster};
use crate::{
    config::Config,
    context::Context,
    failure::{Exit, Failure, Outcome, chain},
};
use clonepanel_core::{
    dns::Zone,
    job::{Nameservers, ZoneCopy},
};
use clonepanel_whm::{Proof, ServerProof, all_keys};
use serde_json::json;
use std::time::Duration;

pub(super) async fn run(
    context: &Context,
    config: &Config,
    copies: &Copies,
    wanted: &Wanted,
    wait: Duration,
) -> Result<Outcome, Failure> {
    let cluster = cluster(config, &copies.servers, Nameservers::AsDesired)?;
    let output = &context.output;
    let desired = wanted.read_if_given(config, &copies.zone).await?;
    let read = cluster.read(&copies.zone).await;
    let asking = read.iter().filter_map(|ZoneCopy { name, zone }| {
        let servers = &config.servers.get(name)?.nameservers;
        // Without a word of what is desired, the name servers are to say what their own panel says.
        let expected = match (&desired, zone) {
            (Some(desired), Ok(there)) => with_own_nameservers(desired, there),
            (Some(desired), Err(_)) => desired.clone(),
            (None, Ok(there)) => there.clone(),
            (None, Err(_)) => return None,
        };
        Some((name, servers, expected))
    });
    let asking: Vec<_> = asking.collect();
    let (mut right, mut wrong) = (0, 0);
    for ZoneCopy { name, zone } in &read {
        if let Err(error) = zone {
            wrong += 1;
            let why = chain(error);
            output.event(&json!({ "event": "away", "server": name, "why": why }));
            output.warn(format_args!("{name}: {why}"));
        }
    }
    for (name, servers, expected) in asking {
        if servers.is_empty() {
            output.warn(format_args!("{name} has no nameservers in the configuration: nobody was asked"));
            wrong += 1;
            continue;
        }
        for proof in Proof::new(servers.iter().copied()).deadline(wait).run(&expected, &all_keys(&expected)).await {
            *if proof.is_right() { &mut right } else { &mut wrong } += 1;
            tell(context, name, &proof);
        }
    }
    output.line(format_args!("{right} name servers answer as they should, {wrong} do not"));
    let result = json!({ "zone": copies.zone.to_string(), "right": right, "wrong": wrong });
    Ok(Outcome::new(if wrong == 0 { Exit::Done } else { Exit::Failed }, result))
}

/// Servers may have names of their own at the top of a zone: that is nothing to be proven wrong.
fn with_own_nameservers(desired: &Zone, there: &Zone) -> Zone {
    let mut zone = desired.clone();
    if let Some(own) = there.find(there.name(), clonepanel_core::dns::RecordType::NS) {
        drop(zone.insert(own.clone()));
    }
    zone
}

fn tell(context: &Context, name: &str, proof: &ServerProof) {
    let ServerProof { server, serial, asked, findings, took } = proof;
    let serial_word = serial.map_or_else(|| "no serial".to_owned(), |serial| format!("serial {serial}"));
    let findings_json: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "transport": finding.transport.to_string(),
                "key": finding.key.as_ref().map(ToString::to_string),
                "what": finding.what,
            })
        })
        .collect();
    context.output.event(&json!({
        "event": "nameserver", "server": name, "address": server.to_string(), "serial": serial, "asked": asked,
        "right": proof.is_right(), "findings": findings_json, "seconds": took.as_secs_f64(),
    }));
    let verdict = if proof.is_right() { "right" } else { "wrong" };
    context.output.line(format_args!(
        "{verdict}  {name} {server}: {asked} record sets over udp and tcp, {serial_word}, {:.2} s",
        took.as_secs_f64()
    ));
    for finding in findings {
        let key = finding.key.as_ref().map(|key| format!(" {key}")).unwrap_or_default();
        context.output.line(format_args!("       {}{key}: {}", finding.transport, finding.what));
    }
}
