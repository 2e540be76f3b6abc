//! Access keys from where programs of AWS look for them: the environment, a profile, or a file. Never from the command line.

use std::env;
use std::fs;
use std::path::PathBuf;

use crate::cli::failure::Failure;
use crate::s3::sigv4::Credential;

/// A credential with the region that its profile names.
#[derive(Clone)]
pub(super) struct Profile {
    pub(super) credential: Credential,
    #[allow(dead_code, reason = "what signs needs it")]
    pub(super) region: Option<String>,
}

/// Loads what a flag names: `env`, a file (a name with a `/`) with sections as in `~/.aws/credentials`, or a profile. A file
/// can hold several.
pub(super) fn load(source: &str) -> Result<Vec<Profile>, Failure> {
    if source == "env" {
        return from_environment().map(|profile| vec![profile]);
    }
    if source.contains('/') {
        let text = read(&PathBuf::from(source))?;
        let profiles: Vec<_> = sections(&text).into_iter().filter_map(|(_, section)| section.profile()).collect();
        return if profiles.is_empty() { Err(no_keys(&format!("the file {source}"))) } else { Ok(profiles) };
    }
    from_profile(source).map(|profile| vec![profile])
}

fn from_environment() -> Result<Profile, Failure> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(access_key), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) else {
        return Err(Failure::usage(
            "the environment holds no access key",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of ~/.aws/credentials",
        ));
    };
    let token = variable("AWS_SESSION_TOKEN");
    let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    Ok(Profile { credential: Credential::new(&access_key, &secret, token.as_deref()), region })
}

fn from_profile(name: &str) -> Result<Profile, Failure> {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let place = |variable: &str, file: &str| env::var_os(variable).map_or_else(|| home.join(".aws").join(file), PathBuf::from);
    let text = read(&place("AWS_SHARED_CREDENTIALS_FILE", "credentials"))?;
    let config = fs::read_to_string(place("AWS_CONFIG_FILE", "config")).unwrap_or_default();
    let mut section = sections(&text).into_iter().find(|(have, _)| have == name).map(|(_, section)| section).unwrap_or_default();
    let of_config = |have: &str| have == name || have.strip_prefix("profile ").is_some_and(|rest| rest.trim() == name);
    if let Some((_, other)) = sections(&config).into_iter().find(|(have, _)| of_config(have)) {
        section.region = section.region.or(other.region);
        section.access_key = section.access_key.or(other.access_key);
        section.secret = section.secret.or(other.secret);
        section.token = section.token.or(other.token);
    }
    section.profile().ok_or_else(|| no_keys(&format!("the profile {name}")))
}

fn no_keys(what: &str) -> Failure {
    Failure::usage(
        format!("{what} holds no aws_access_key_id with aws_secret_access_key"),
        "check the name of the profile, or use `env` with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    )
}

fn read(path: &PathBuf) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        Failure::unreadable(error, format!("cannot read {}", path.display()), "name a profile, a file with a /, or `env`")
    })
}

#[derive(Default)]
struct Section {
    access_key: Option<String>,
    secret: Option<String>,
    token: Option<String>,
    region: Option<String>,
}

impl Section {
    fn profile(self) -> Option<Profile> {
        let credential = Credential::new(&self.access_key?, &self.secret?, self.token.as_deref());
        Some(Profile { credential, region: self.region })
    }
}

/// The sections of a file in the format of `~/.aws/credentials`; lines before the first belong to `default`.
fn sections(text: &str) -> Vec<(String, Section)> {
    let mut all = vec![("default".to_owned(), Section::default())];
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            all.push((name.trim().to_owned(), Section::default()));
        } else if let (Some((name, value)), Some((_, section))) = (line.split_once('='), all.last_mut()) {
            let value = Some(value.trim().to_owned());
            match name.trim() {
                "aws_access_key_id" => section.access_key = value,
                "aws_secret_access_key" => section.secret = value,
                "aws_session_token" => section.token = value,
                "region" => section.region = value,
                _ => {}
            }
        }
    }
    all.retain(|(_, section)| section.access_key.is_some() || section.region.is_some());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_give_keys_and_regions() {
        let text =
            "# a comment\n[default]\naws_access_key_id = AK\naws_secret_access_key=s/+=\n\n[profile lab]\nregion = eu-west-1\n";
        let all = sections(text);
        assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["default", "profile lab"]);
        assert_eq!(all[0].1.secret.as_deref(), Some("s/+="));
        assert_eq!(all[1].1.region.as_deref(), Some("eu-west-1"));
    }
}
