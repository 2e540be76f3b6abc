//! Every single byte of a canonical request, replaced by every other: what remains when nothing known explains a signature.

use ring::digest;

use crate::s3::sigv4::Credential;
use crate::s3::sigv4::candidates::{Trial, with_parameter};
use crate::s3::sigv4::canonical::Canonical;
use crate::s3::sigv4::explain::Component;
use crate::s3::sigv4::verify::Claim;

/// Canonical requests longer than this are not searched: the work grows with the square.
const TEXT_BYTES_MAX: usize = 4096;

/// The component of which one byte, put back, makes the signature fit, and the canonical request with it.
pub(super) fn one_byte(claim: &Claim, credential: &Credential) -> Option<(Component, Canonical)> {
    scope_byte(claim, credential).or_else(|| text_byte(claim, credential))
}

fn text_byte(claim: &Claim, credential: &Credential) -> Option<(Component, Canonical)> {
    let trial = Trial::new(claim, credential);
    let text = claim.canonical.text();
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let mut before = digest::Context::new(&digest::SHA256);
    for (at, sent) in text.iter().enumerate() {
        let after = text.get(at + 1..).unwrap_or_default();
        if *sent != b'\n' {
            for byte in b' '..=b'~' {
                let mut context = before.clone();
                context.update(&[byte]);
                context.update(after);
                if trial.computed(context.finish().as_ref()) == claim.signature {
                    return put_back(&claim.canonical, at, byte);
                }
            }
        }
        before.update(&[*sent]);
    }
    None
}

/// The canonical request with the byte at that place of its text, and the component that holds the place.
fn put_back(sent: &Canonical, at: usize, byte: u8) -> Option<(Component, Canonical)> {
    let mut canonical = sent.clone();
    let mut start = 0;
    let mut part = |text: &mut Vec<u8>, component: Component| {
        let offset = at.checked_sub(start);
        start += text.len() + 1;
        let place = offset.and_then(|offset| text.get_mut(offset));
        place.map(|place| {
            *place = byte;
            component
        })
    };
    let mut found = part(&mut canonical.method, Component::Method)
        .or_else(|| part(&mut canonical.path, Component::Path))
        .or_else(|| part(&mut canonical.query, Component::Query));
    for (name, value) in &mut canonical.headers {
        let label = Component::Header(String::from_utf8_lossy(name).into_owned());
        found = found.or_else(|| part(name, Component::SignedHeaders)).or_else(|| part(value, label));
    }
    found = found.or_else(|| part(&mut Vec::new(), Component::SignedHeaders));
    found = found.or_else(|| part(&mut canonical.names, Component::SignedHeaders));
    found.or_else(|| part(&mut canonical.payload, Component::PayloadHash)).map(|component| (component, canonical))
}

/// Region, service and day of the scope, which the canonical request of a header-signed request does not hold.
fn scope_byte(claim: &Claim, credential: &Credential) -> Option<(Component, Canonical)> {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    type Part = fn(&mut Claim) -> &mut Vec<u8>;
    let parts: [(Component, Part); 3] = [
        (Component::ScopeDate, |claim| &mut claim.scope.date),
        (Component::Region, |claim| &mut claim.scope.region),
        (Component::Service, |claim| &mut claim.scope.service),
    ];
    let mut other = claim.clone();
    for (component, part) in parts {
        for at in 0..part(&mut other).len() {
            for letter in LETTERS {
                let Some(place) = part(&mut other).get_mut(at) else { continue };
                let sent = std::mem::replace(place, *letter);
                let value = [claim.access_key.as_bytes(), b"/", &other.scope.text()].concat();
                other.canonical.query = with_parameter(&claim.canonical.query, b"X-Amz-Credential", &value);
                if sent != *letter && other.verifies(credential) {
                    return Some((component, other.canonical));
                }
                if let Some(place) = part(&mut other).get_mut(at) {
                    *place = sent;
                }
            }
        }
    }
    None
}
