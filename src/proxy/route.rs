//! Routes: where hopwire listens, and where it forwards to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// How bytes travel on one side of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plaintext.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(super) const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What clients speak.
    pub scheme: Scheme,
    /// The address; port 0 is any that is free.
    pub address: SocketAddr,
}

/// Where to forward to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What the server speaks.
    pub scheme: Scheme,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// One route. Its two legs are called after it: `NAME` from the client to hopwire, `NAME-upstream` from there on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name, which the hop has in reports.
    pub name: String,
    /// Where to listen.
    pub listen: Listen,
    /// Where to forward to.
    pub to: Destination,
}

/// Where a route forwards to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Always there.
    Target(Target),
    /// Where the client says, by CONNECT or the absolute form of its targets (RFC 9112 section 3.2): a forward proxy.
    Asked(Vec<AllowedTarget>),
    /// The server whose port is redirected here, inside a network namespace.
    Intercepted {
        /// The namespace, as in `/proc/1234/ns/net`.
        namespace: PathBuf,
        /// The redirected port.
        port: u16,
    },
}

/// A target that a forward proxy may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedTarget {
    /// Its name or address; `*.example.org` stands for all names below.
    host: String,
    /// Its port; any where it is `None`.
    port: Option<u16>,
}

impl AllowedTarget {
    /// Reads `HOST[:PORT]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = split_port(text)?;
        if host.is_empty() {
            return Err(format!("{text:?} is not a target: expected HOST[:PORT], as in *.example.org:9000"));
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }

    pub(super) fn covers(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|allowed| allowed == port) && name_matches(&self.host, host)
    }
}

/// Whether a name is `pattern`, or below it where that is `*.example.org`.
pub(super) fn name_matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => {
            let start = name.len().checked_sub(suffix.len()).filter(|start| *start > 0);
            start.and_then(|start| name.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        }
        None => pattern.eq_ignore_ascii_case(name),
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(target) => target.fmt(f),
            Self::Asked(_) => f.write_str("where the client asks"),
            Self::Intercepted { port, .. } => write!(f, "the server on port {port}"),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.label(), self.address)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        match host.contains(':') {
            true => write!(f, "{}://[{host}]:{port}", scheme.label()),
            false => write!(f, "{}://{host}:{port}", scheme.label()),
        }
    }
}

impl Route {
    /// Reads `NAME=LISTEN->TARGET`.
    ///
    /// # Errors
    /// What is wrong with it, and the form that is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('=').ok_or_else(|| format!("{text:?} has no name: {FORM}"))?;
        let Some((listen, target)) = rest.split_once("->") else {
            let hint = if rest.ends_with('-') { "; put quotes around it, since the shell takes > for itself" } else { "" };
            return Err(format!("{text:?} has no target{hint}: {FORM}"));
        };
        Self::of(name, listen, target)
    }

    /// Makes a route of its three parts.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of(name: &str, listen: &str, target: &str) -> Result<Self, String> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), listen: Listen::parse(listen)?, to: Destination::Target(Target::parse(target)?) })
    }

    /// Reads `NAME=LISTEN` for a forward proxy, which has no target of its own.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_forward(text: &str) -> Result<Self, String> {
        let form = "expected NAME=http://[ADDRESS]:PORT";
        let (name, listen) = text.split_once('=').ok_or_else(|| format!("{text:?} has no name: {form}"))?;
        check_name(name)?;
        let listen = Listen::parse(listen)?;
        if listen.scheme != Scheme::Http {
            return Err(format!("{text:?}: clients speak http to a forward proxy, also where they ask for https: {form}"));
        }
        Ok(Self { name: name.to_owned(), listen, to: Destination::Asked(Vec::new()) })
    }

    /// A port of a network namespace whose connections are redirected to hopwire.
    ///
    /// # Errors
    /// Where the name is none.
    pub fn intercept(name: &str, namespace: PathBuf, port: u16) -> Result<Self, String> {
        check_name(name)?;
        let listen = Listen { scheme: Scheme::Http, address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0) };
        Ok(Self { name: name.to_owned(), listen, to: Destination::Intercepted { namespace, port } })
    }

    /// The same, where a forward proxy connects to these targets only.
    #[must_use]
    pub fn allowing(mut self, targets: &[AllowedTarget]) -> Self {
        if let Destination::Asked(allowed) = &mut self.to {
            *allowed = targets.to_vec();
        }
        self
    }

    /// Whether clients may speak TLS to it, so that certificates are needed.
    pub(super) const fn may_speak_tls(&self) -> bool {
        matches!(self.listen.scheme, Scheme::Https) || !matches!(self.to, Destination::Target(_))
    }

    /// The names of its two legs.
    pub fn legs(&self) -> [String; 2] {
        [self.name.clone(), format!("{}-upstream", self.name)]
    }
}

/// Letters, digits, `-`, `_` and `.`, at most 64 of them.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
        return Err(format!("{name:?} is not a name: letters, digits, - _ and . are, up to {NAME_BYTES_MAX}"));
    }
    Ok(())
}

impl Listen {
    /// Reads `https://ADDRESS:PORT`; without an address it is loopback, so that nobody else can connect.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = parse_scheme(text)?;
        let (host, port) = split_port(rest)?;
        let port = port.ok_or_else(|| format!("{text:?} has no port: {FORM}"))?;
        let ip = match host {
            "" | "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            host => host.parse().map_err(|_| {
                format!("{host:?} is not an address to listen on: give an IP address, nothing for loopback, or 0.0.0.0 for all")
            })?,
        };
        Ok(Self { scheme, address: SocketAddr::new(ip, port) })
    }
}

impl Target {
    /// Reads `https://HOST:PORT`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = parse_scheme(text)?;
        let (host, port) = split_port(rest)?;
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | ':');
        if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.chars().all(is_plain) {
            return Err(format!("{host:?} is not a host to forward to: {FORM}"));
        }
        Ok(Self { scheme, host: host.to_owned(), port: port.unwrap_or(scheme.port()) })
    }
}

fn parse_scheme(text: &str) -> Result<(Scheme, &str), String> {
    let parsed = match text.split_once("://") {
        Some(("http", rest)) => Some((Scheme::Http, rest)),
        Some(("https", rest)) => Some((Scheme::Https, rest)),
        _ => None,
    };
    let (scheme, rest) = parsed.ok_or_else(|| format!("{text:?} begins neither with http:// nor https://: {FORM}"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@']) {
        return Err(format!("{text:?} has more than host and port: paths are forwarded as they come"));
    }
    Ok((scheme, rest))
}

/// Host and port; IPv6 addresses have brackets.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some(rest) })),
        None => match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            Some(_) => return Err(format!("{text:?}: an IPv6 address needs brackets, as in [::1]:9000")),
            None => (text, None),
        },
    };
    let port = port.map(|port| port.parse().map_err(|_| format!("{port:?} is not a port")));
    Ok((host, port.transpose()?))
}

const FORM: &str = "expected 'NAME=http[s]://[ADDRESS]:PORT->http[s]://HOST:PORT'";
const NAME_BYTES_MAX: usize = 64;
/// A DNS name has at most 253 bytes.
const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_a_name_and_two_sides() {
        for (text, shown) in [
            ("a=https://0.0.0.0:18090->https://sidekick:8090", "a https://0.0.0.0:18090 https://sidekick:8090"),
            ("b.c=http://:1->https://store", "b.c http://127.0.0.1:1 https://store:443"),
            ("x=https://[::]:0->http://[::1]:9000/", "x https://[::]:0 http://[::1]:9000"),
            ("x=http://localhost:7->http://10.0.0.1", "x http://127.0.0.1:7 http://10.0.0.1:80"),
        ] {
            let route = Route::parse(text).unwrap();
            assert_eq!(format!("{} {} {}", route.name, route.listen, route.to), shown, "{text}");
        }
    }

    #[test]
    fn wrong_routes_are_refused_with_the_form() {
        for (text, why) in [
            ("https://:1->https://a", "has no name"),
            ("a=https://:1", "has no target"),
            ("a=https://:1-", "put quotes around it"),
            ("a=:1->https://b", "begins neither"),
            ("a=https://b->https://c", "has no port"),
            ("a=https://host:1->https://c", "is not an address to listen on"),
            ("a=https://:1->https://c/path", "more than host and port"),
            ("a=https://:1->https://::1:9", "needs brackets"),
            ("a=https://:99999->https://c", "is not a port"),
            ("a b=https://:1->https://c", "is not a name"),
            ("a=https://:1->https://", "is not a host"),
        ] {
            let error = Route::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
