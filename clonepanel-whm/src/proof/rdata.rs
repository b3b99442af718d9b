//! Records as they arrive from a name server, in our own form.

use bytes::Bytes;
use clonepanel_core::dns::{Caa, DomainName, Opaque, OpaqueForm, RecordData, RecordType, Soa, Srv, Strings};
use hickory_proto::{
    ProtoError,
    rr::{Name, RData, Record},
    serialize::binary::BinEncodable,
};

pub(super) fn name(name: &DomainName) -> Result<Name, ProtoError> {
    Name::from_labels(name.labels())
}

fn own(name: &Name) -> Result<DomainName, String> {
    DomainName::from_labels(name.iter()).map_err(|error| error.to_string())
}

/// A record that arrived.
pub(super) fn read(record: &Record) -> Result<(DomainName, RecordData), String> {
    let record_type = RecordType::new(record.record_type().into());
    let data = match &record.data {
        RData::A(address) => RecordData::A(address.0),
        RData::AAAA(address) => RecordData::Aaaa(address.0),
        RData::CNAME(target) => RecordData::Cname(own(&target.0)?),
        RData::NS(target) => RecordData::Ns(own(&target.0)?),
        RData::PTR(target) => RecordData::Ptr(own(&target.0)?),
        RData::MX(mx) => RecordData::Mx(mx.preference, own(&mx.exchange)?),
        RData::SRV(srv) => RecordData::Srv(Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: own(&srv.target)?,
        }),
        RData::TXT(txt) => {
            let strings = txt.txt_data.iter().map(|string| Bytes::copy_from_slice(string));
            RecordData::Txt(Strings::from_strings(strings).ok_or("a TXT record without a string")?)
        }
        RData::CAA(caa) => {
            let flags = u8::from(caa.issuer_critical) << 7 | caa.reserved_flags;
            match Caa::new(flags, &caa.tag, caa.value.clone()) {
                Some(caa) => RecordData::Caa(caa),
                None => opaque(record_type, &record.data)?,
            }
        }
        RData::SOA(soa) => RecordData::Soa(Soa {
            primary: own(&soa.mname)?,
            responsible: own(&soa.rname)?,
            serial: soa.serial,
            refresh: soa.refresh.cast_unsigned(),
            retry: soa.retry.cast_unsigned(),
            expire: soa.expire.cast_unsigned(),
            minimum: soa.minimum,
        }),
        other => opaque(record_type, other)?,
    };
    Ok((own(&record.name)?, data))
}

fn opaque(record_type: RecordType, data: &RData) -> Result<RecordData, String> {
    let octets = match data {
        RData::Unknown { rdata, .. } => rdata.anything.clone(),
        RData::Update0(_) => Vec::new(),
        data => data.to_bytes().map_err(|error| error.to_string())?,
    };
    Ok(RecordData::Opaque(Opaque { record_type, form: OpaqueForm::Wire(octets.into()) }))
}
