//! The single cookies of a `Cookie` or `Set-Cookie` value (RFC 6265).

/// The name and value of each cookie. What `Set-Cookie` says of them is left out.
pub fn cookies(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    header.split(|byte| *byte == b';').filter_map(|cookie| {
        let equals = memchr::memchr(b'=', cookie)?;
        let (name, value) = (cookie.get(..equals)?.trim_ascii(), cookie.get(equals + 1..)?.trim_ascii());
        let is_attribute = ATTRIBUTES.iter().any(|attribute| attribute.as_bytes().eq_ignore_ascii_case(name));
        (!is_attribute && !value.is_empty()).then_some((name, value))
    })
}

/// Whether a cookie lets somebody act as the client: its value is not a word, and it is not one by which a load balancer keeps
/// a client on one server.
pub fn is_credential(name: &[u8], value: &[u8]) -> bool {
    let keeps_server = |start: &&str| name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes()));
    is_random(value) && !AFFINITY.iter().any(keeps_server)
}

/// Whether a value is too long, or too mixed, to be a word (a language, a theme) that other texts hold by right.
pub fn is_random(value: &[u8]) -> bool {
    value.len() >= RANDOM_BYTES_MIN || (value.len() >= MIXED_BYTES_MIN && is_mixed(value))
}

fn is_mixed(value: &[u8]) -> bool {
    value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_lowercase) && value.iter().any(u8::is_ascii_uppercase)
}

const ATTRIBUTES: &[&str] = &["expires", "max-age", "domain", "path", "samesite", "version", "priority"];

/// Cookies of AWS load balancers, nginx, HAProxy, F5, Citrix and others: they name a server.
const AFFINITY: &[&str] = &[
    "AWSALB",
    "AWSELB",
    "BIGipServer",
    "SERVERID",
    "SRV",
    "ROUTEID",
    "INGRESSCOOKIE",
    "route",
    "NSC_",
    "citrix_ns_id",
    "lb",
    "sticky",
    "GCLB",
    "ARRAffinity",
    "stickounet",
];

const RANDOM_BYTES_MIN: usize = 16;
const MIXED_BYTES_MIN: usize = 10;
