//! How a client is let in: its first message, its key where keys are needed, a seat, and what it is told of the
//! server. A request to cancel comes in the same way, needs neither, and ends here.

use std::{collections::HashMap, sync::Arc};

use futures::{SinkExt, StreamExt};
use pgwire::{
    api::{
        ClientInfo, DefaultClient, METADATA_APPLICATION_NAME, METADATA_USER, PgWireConnectionState,
        PidSecretKeyGenerator,
        auth::{
            ServerParameterProvider, finish_authentication, protocol_negotiation, save_startup_parameters_to_metadata,
        },
    },
    messages::{
        PgWireBackendMessage, PgWireFrontendMessage,
        startup::{Authentication, Startup},
    },
    tokio::server::PgWireMessageServerCodec,
};
use tokio::net::TcpStream;
use tokio_util::codec::Framed;

use super::{
    Server, WHAT,
    connection::{Connection, Guest, Wire, say},
    error::{Failure, Result},
    session::Settings,
    stream::Stream,
};
use crate::{
    access::Permission,
    gate::Reason,
    query::{Asker, default_setting},
};

/// Settings that clients are told without asking.
const TOLD: [&str; 11] = [
    "server_version",
    "server_encoding",
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
    "is_superuser",
    "in_hot_standby",
    "default_transaction_read_only",
];
/// The code of a connection too many.
const TOO_MANY: &str = "53300";
/// What a first message has beside settings.
const NO_SETTINGS: [&str; 4] = ["user", "database", "options", "replication"];

/// Lets a client in; nobody where it may not, breaks off, or only wants something cancelled.
pub async fn meet(tcp: TcpStream, server: &Arc<Server>) -> Option<Connection> {
    let address = tcp.peer_addr().ok()?;
    let stream = Stream::open(tcp, server.tls.as_ref()).await.ok()?;
    let mut client = DefaultClient::new(address, stream.is_secure());
    client.set_state(PgWireConnectionState::AwaitingStartup);
    let mut wire = Framed::new(stream, PgWireMessageServerCodec::new(client));
    match admit(&mut wire, server).await {
        Ok(guest) => Some(Connection::new(wire, guest?)),
        Err(failure) => {
            let _ = say(&mut wire, &failure.fatal()).await;
            let _ = wire.close().await;
            None
        }
    }
}

async fn admit(wire: &mut Wire, server: &Arc<Server>) -> Result<Option<Guest>> {
    let startup = match next(wire).await? {
        PgWireFrontendMessage::Startup(startup) => startup,
        PgWireFrontendMessage::CancelRequest(request) => {
            server.cancels.cancel(request.pid, &request.secret_key).await;
            return Ok(None);
        }
        _ => return Err(Failure::new("08P01", "a connection begins with its parameters")),
    };
    protocol_negotiation(wire, &startup).await?;
    save_startup_parameters_to_metadata(wire, &startup);
    let settings = settings(&startup)?;
    let key = if server.gate.needs_keys().await? { Some(ask_for_key(wire, server).await?) } else { None };
    let caller = server.gate.admit(key.as_deref(), Permission::Query, WHAT).await?;
    let engine = server.engine_of_everybody.scoped(caller.scope()).await?;
    let own = server.gate.seat(&caller, WHAT).map_err(|error| Failure::new(TOO_MANY, error.to_string()))?;
    let seat = Arc::clone(&server.seats).try_acquire_owned().map_err(|_| {
        server.gate.note(Reason::Seats, WHAT, key.as_deref());
        let most = server.connections_max;
        Failure::new(TOO_MANY, format!("sorry, too many clients already: postgres.connections_max is {most}"))
    })?;
    let (pid, secret) = server.identities.generate(&*wire);
    wire.set_pid_and_secret_key(pid, secret.clone());
    let asker = caller.key_id().map_or(Asker::Postgres(pid), |id| Asker::Key(id.to_owned()));
    let (cancel, registered) = server.cancels.register(pid, secret);
    finish_authentication(wire, &Parameters).await?;
    let seats = (seat, own);
    Ok(Some(Guest {
        server: Arc::clone(server),
        key,
        engine,
        asker,
        settings,
        cancel,
        _registered: registered,
        _seats: seats,
    }))
}

/// The key of a client, which comes as its password. It is asked for only where nobody can read along.
async fn ask_for_key(wire: &mut Wire, server: &Server) -> Result<String> {
    let is_private = wire.is_secure() || wire.socket_addr().ip().is_loopback();
    if !is_private && !server.allow_unencrypted_keys {
        server.gate.note(Reason::Unencrypted, WHAT, None);
        let failure = Failure::new("28000", "a key would come unencrypted: connect with TLS (sslmode=require)");
        return Err(failure.with_hint("the server's postgres.allow_unencrypted_keys allows it in networks of your own"));
    }
    wire.set_state(PgWireConnectionState::AuthenticationInProgress);
    wire.send(PgWireBackendMessage::Authentication(Authentication::CleartextPassword)).await?;
    match next(wire).await? {
        PgWireFrontendMessage::PasswordMessageFamily(message) => Ok(message.into_password()?.password),
        _ => Err(Failure::new("08P01", "a key is needed, as the password")),
    }
}

async fn next(wire: &mut Wire) -> Result<PgWireFrontendMessage> {
    match wire.next().await {
        Some(message) => Ok(message?),
        None => Err(Failure::new("08006", "the client broke off")),
    }
}

/// The settings that the first message brings.
fn settings(startup: &Startup) -> Result<Settings> {
    if startup
        .parameters
        .get("replication")
        .is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "no" | "0"))
    {
        return Err(Failure::new("0A000", "there is no replication"));
    }
    let mut settings = Settings::default();
    for (name, value) in startup.parameters.iter().filter(|(name, _)| !NO_SETTINGS.contains(&name.as_str())) {
        settings.set(&name.to_lowercase(), Some(value.clone()))?;
    }
    // As `-c name=value -c name=value`, or `--name=value`.
    let options = startup.parameters.get("options").map(String::as_str).unwrap_or_default();
    for option in options.split_whitespace() {
        let option = option.strip_prefix("--").or_else(|| option.strip_prefix("-c")).unwrap_or(option);
        if let Some((name, value)) = option.split_once('=') {
            settings.set(&name.to_lowercase().replace('-', "_"), Some(value.to_owned()))?;
        }
    }
    Ok(settings)
}

/// What a client is told of the server.
struct Parameters;

impl ServerParameterProvider for Parameters {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        let default = |name: &str| default_setting(&name.to_lowercase()).unwrap_or_default();
        let mut told: HashMap<_, _> =
            TOLD.into_iter().map(|name| (name.to_owned(), default(name).to_owned())).collect();
        let own = [(METADATA_APPLICATION_NAME, METADATA_APPLICATION_NAME), ("session_authorization", METADATA_USER)];
        for (name, from) in own {
            told.insert(name.to_owned(), client.metadata().get(from).cloned().unwrap_or_default());
        }
        Some(told)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn startup(parameters: &[(&str, &str)]) -> Startup {
        let mut startup = Startup::default();
        startup.parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        startup
    }

    #[test]
    fn the_first_message_brings_settings() {
        let parameters = [
            ("user", "a"),
            ("DateStyle", "ISO"),
            ("options", "-c statement_timeout=5s -csearch_path=stored --geqo=off"),
        ];
        let settings = settings(&startup(&parameters)).unwrap();
        let shown = ["datestyle", "statement_timeout", "search_path", "geqo"].map(|name| settings.get(name).unwrap());
        assert_eq!(shown, ["ISO", "5s", "stored", "off"]);
        assert!(settings.get("user").is_err() && settings.timeout().is_some());
    }

    #[test]
    fn nobody_replicates() {
        assert!(settings(&startup(&[("replication", "database")])).is_err());
        assert!(settings(&startup(&[("replication", "false")])).is_ok());
    }

    #[test]
    fn what_is_told_is_known() {
        for name in TOLD {
            assert!(default_setting(&name.to_lowercase()).is_some(), "{name}");
        }
    }
}
