//! EDGE. Stands in the path: connections come in, their bytes go on as they came, and what passed goes on a tape.
//!
//! It forwards and records, and does not judge. The recording is what a capture of both sides would be: packets with times,
//! and the TLS secrets. [`start`] starts it on threads of its own; [`Tape::take`] gives what passed, until it is stopped.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use hopwire::proxy::{Reel, Route, Settings, Tape, start};
//!
//! let tape = Arc::new(Tape::new(32 << 20));
//! let routes = vec![Route::of("spark-store", "http://127.0.0.1:0", "http://127.0.0.1:9000")?];
//! let running = start(Settings { routes, ..Settings::default() }, Arc::clone(&tape), |notice| println!("{notice}"))
//!     .map_err(|error| error.to_string())?;
//! println!("listening on {:?}", running.listening());
//! running.stop();
//! let mut reel = Reel::default();
//! while tape.take(&mut reel, Duration::from_secs(1)) { println!("{} packets and secrets", reel.len()); }
//! # Ok::<(), String>(())
//! ```

mod accept;
mod answer;
mod authority;
mod door;
mod ending;
mod experiment;
mod flow;
mod forward;
mod gate;
mod goal;
mod head;
mod listener;
mod look;
mod namespace;
mod notice;
mod pump;
mod refusal;
mod relay;
mod route;
mod serve;
mod settings;
mod stream;
mod tape;
mod trust;
mod watchdog;

pub use authority::{Authority, AuthorityError, make_ca, open_certificate, read_certificates, read_key};
pub use door::Counts;
pub use experiment::{Effect, Experiment};
pub use namespace::InterceptError;
pub use notice::Notice;
pub use refusal::Refusal;
pub use route::{AllowedTarget, Destination, Listen, Route, Scheme, Target};
pub use serve::{Running, StartError, start};
pub use settings::{Bounds, Settings};
pub use tape::{Entry, Reel, Tape};
pub use trust::{Identity, Upstream};
