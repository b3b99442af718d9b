//! The functions: what is done and what is answered.

use super::{Panel, State, fault::Fault, form::Form, zone::Lines};
use serde_json::{Value, json};

/// Status and body.
pub(super) struct Reply {
    pub(super) status: &'static str,
    pub(super) body: String,
}

impl Reply {
    fn json(body: &Value) -> Self {
        Self { status: "200 OK", body: body.to_string() }
    }
}

/// What a function answers before it is wrapped.
type Outcome = Result<Value, String>;

pub(super) fn unauthorised() -> Reply {
    let body = json!({"cpanelresult": {"apiversion": "2", "error": "Access denied", "type": "text",
                                       "data": {"reason": "Access denied", "result": "0"}}});
    Reply { status: "403 Forbidden Access denied", body: body.to_string() }
}

/// Runs a function of API 1, or of UAPI inside of it.
pub(super) fn run(panel: &Panel, function: &str, form: &Form, fault: Option<Fault>) -> Reply {
    if form.text("api.version").as_deref() != Some("1") {
        return Reply::json(&json!({"error": format!("Unknown App Requested: {function}")}));
    }
    let may = panel.state().functions.contains(function);
    if !may {
        return Reply::json(&failure(function, &format!("Permission denied: you do not have access to “{function}”.")));
    }
    if function == "uapi_cpanel" {
        let name = |key| form.text(key).unwrap_or_default();
        let (user, module, inner) = (name("cpanel.user"), name("cpanel.module"), name("cpanel.function"));
        let is_ours = panel.state().accounts.values().any(|owner| *owner == user);
        if !is_ours {
            return Reply::json(&failure(function, "You do not have access to that account."));
        }
        let outcome = account(panel, &user, &format!("{module}::{inner}"), form, fault);
        let result = match outcome {
            Ok(data) => json!({"status": 1, "data": data, "errors": null, "messages": null, "warnings": null}),
            Err(error) => json!({"status": 0, "data": null, "errors": [error], "messages": null, "warnings": null}),
        };
        return Reply::json(&success(function, json!({"uapi": result})));
    }
    match reseller(panel, function, form, fault) {
        Ok(data) => Reply::json(&success(function, data)),
        Err(reason) => Reply::json(&failure(function, &reason)),
    }
}

fn success(function: &str, data: Value) -> Value {
    json!({"metadata": {"version": 1, "command": function, "result": 1, "reason": "OK"}, "data": data})
}

fn failure(function: &str, reason: &str) -> Value {
    json!({"metadata": {"version": 1, "command": function, "result": 0, "reason": reason}, "data": null})
}

fn reseller(panel: &Panel, function: &str, form: &Form, fault: Option<Fault>) -> Outcome {
    match function {
        "applist" => Ok(json!({"app": panel.state().functions})),
        "version" => Ok(json!({"version": "11.134.0.59"})),
        "listzones" => {
            let state = panel.state();
            let zones: Vec<_> = state
                .zones
                .keys()
                .rev()
                .map(|zone| json!({"domain": zone, "zonefile": format!("{zone}.db")}))
                .collect();
            // The key holds null when the list is empty.
            Ok(json!({"zone": if zones.is_empty() { Value::Null } else { Value::Array(zones) }}))
        }
        "get_domain_info" => {
            let state = panel.state();
            let domains = state
                .accounts
                .iter()
                .map(|(domain, user)| json!({"domain": domain, "user": user, "domain_type": "main"}));
            Ok(json!({"domains": domains.collect::<Vec<_>>()}))
        }
        "parse_dns_zone" => Ok(json!({"payload": parse(&panel.state(), form)?})),
        "mass_edit_dns_zone" => Ok(json!({"new_serial": mass_edit(panel, form, fault)?.to_string()})),
        "adddns" => add(panel, form),
        "killdns" => kill(panel, form),
        _ => Err(format!("Unknown app (“{function}”) requested for this version (1) of the API.")),
    }
}

fn account(panel: &Panel, user: &str, function: &str, form: &Form, fault: Option<Fault>) -> Outcome {
    let zone = form.text("zone").ok_or("Provide the ‘zone’ argument.")?;
    let is_theirs = panel.state().accounts.get(&zone).is_some_and(|owner| owner == user);
    if !is_theirs {
        return Err(format!("You do not control a DNS zone named {zone}."));
    }
    match function {
        "DNS::parse_zone" => Ok(Value::Array(parse(&panel.state(), form)?)),
        "DNS::mass_edit_zone" => Ok(json!({"new_serial": mass_edit(panel, form, fault)?})),
        _ => Err(format!("Failed to load module “{function}”.")),
    }
}

fn zone_of<'a>(state: &'a State, form: &Form) -> Result<(String, &'a Lines), String> {
    let zone = form.text("zone").ok_or("Provide the ‘zone’ argument.")?;
    let lines = state.zones.get(&zone).ok_or_else(|| format!("You do not control a DNS zone named {zone}."))?;
    Ok((zone, lines))
}

fn parse(state: &State, form: &Form) -> Result<Vec<Value>, String> {
    Ok(zone_of(state, form)?.1.payload())
}

fn mass_edit(panel: &Panel, form: &Form, fault: Option<Fault>) -> Result<u32, String> {
    let mut state = panel.state();
    let (zone, lines) = zone_of(&state, form)?;
    let mut now = lines.clone();
    if fault == Some(Fault::SomebodyElse) {
        now = now.with_one_more();
        panel.bind.write(&zone, &now.text())?;
        state.zones.insert(zone.clone(), now.clone());
    }
    let serial = form.text("serial").ok_or("Provide the ‘serial’ argument.")?;
    let new = now.mass_edit(&serial, &form.list("add"), &form.list("edit"), &form.list("remove"))?;
    let new = match fault {
        Some(Fault::Lie) => return Ok(new.serial()),
        Some(Fault::Damage) => new.damaged(&now),
        _ => new,
    };
    let serial = new.serial();
    panel.bind.write(&zone, &new.text())?;
    state.zones.insert(zone.clone(), new);
    if fault != Some(Fault::NoReload) {
        panel.bind.reload(&zone, serial);
    }
    Ok(serial)
}

fn add(panel: &Panel, form: &Form) -> Outcome {
    let text = |name| form.text(name).ok_or_else(|| format!("Provide the ‘{name}’ argument."));
    let (domain, address) = (text("domain")?, text("ip")?);
    let mut state = panel.state();
    if state.zones.contains_key(&domain) {
        return Err(format!("Sorry, a DNS entry for {domain} already exists."));
    }
    let lines = Lines::from_template(&domain, &address);
    panel.bind.write(&domain, &lines.text())?;
    panel.bind.reload(&domain, lines.serial());
    state.zones.insert(domain, lines);
    Ok(Value::Null)
}

fn kill(panel: &Panel, form: &Form) -> Outcome {
    let domain = form.text("domain").ok_or("Provide the ‘domain’ argument.")?;
    let mut state = panel.state();
    if state.accounts.contains_key(&domain) {
        return Err(format!("{domain} is still configured for HTTP use, so its zone stays."));
    }
    state.zones.remove(&domain).ok_or("Unable to remove zone that does not exist.")?;
    panel.bind.remove(&domain);
    Ok(Value::Null)
}
