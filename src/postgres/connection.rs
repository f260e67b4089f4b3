//! A client that was let in: its messages, one after the other, until it leaves, idles too long, or the server stops.

use std::{pin::pin, sync::Arc, time::Duration};

use arrow::datatypes::{Schema, SchemaRef};
use futures::{
    SinkExt, StreamExt,
    future::{Either, select},
};
use pgwire::{
    api::{ConnectionGuard, ConnectionHandle, Type, portal::Format},
    messages::{
        PgWireBackendMessage as Say, PgWireFrontendMessage as Message,
        data::{NoData, ParameterDescription},
        extendedquery::{
            Bind, BindComplete, CloseComplete, Describe, Parse, ParseComplete, PortalSuspended,
            TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
        },
        response::{CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus},
    },
    tokio::server::PgWireMessageServerCodec,
};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::codec::Framed;

use super::{
    Server, WHAT,
    answer::{self, Answer},
    error::{Failure, Result},
    prepared::{Bound, Kept, Prepared},
    session::Settings,
    stream::Stream,
};
use crate::{
    access::Permission,
    gate::Reason,
    query::{Asker, Command, Description, Engine, Selection, Values, asked_by},
};

/// Messages in both directions.
pub type Wire = Framed<Stream, PgWireMessageServerCodec<()>>;

/// Where a client may idle for as long as it likes.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What a client brings that was let in.
pub struct Guest {
    /// The server.
    pub server: Arc<Server>,
    /// Its key, where keys are needed. It is asked for anew with each statement: it may have been revoked.
    pub key: Option<String>,
    /// The engine that sees what its key may see.
    pub engine: Arc<Engine>,
    /// For whom its statements take their turns.
    pub asker: Asker,
    /// What it has set.
    pub settings: Settings,
    /// By this its statements are cancelled.
    pub cancel: Arc<ConnectionHandle>,
    /// As long as others can cancel them.
    pub _registered: ConnectionGuard,
    /// Its seat.
    pub _seats: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl Guest {
    /// Lets the key in once more, and gives it a turn.
    async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>> {
        let gate = &self.server.gate;
        let caller = gate.admit(self.key.as_deref(), Permission::Query, WHAT).await?;
        Ok(gate.statement(&caller, WHAT)?)
    }

    async fn ask(
        &self,
        question: &Selection,
        values: Option<Values>,
        described: Option<&SchemaRef>,
        format: &Format,
    ) -> Result<Answer> {
        let turn = self.turn().await?;
        let rows = self.engine.answer(question, values, self.settings.timeout()).await?;
        Answer::new(rows, turn, described, format)
    }
}

/// A client's connection.
pub struct Connection {
    wire: Wire,
    guest: Guest,
    kept: Kept,
    transaction: TransactionStatus,
    /// After a failure, until the client has heard of it.
    is_skipping: bool,
}

/// What came of a command.
enum Outcome {
    Rows(Answer),
    Done(&'static str),
}

impl Connection {
    /// That of a guest.
    pub fn new(wire: Wire, guest: Guest) -> Self {
        Self { wire, guest, kept: Kept::default(), transaction: TransactionStatus::Idle, is_skipping: false }
    }

    /// Answers until the client leaves or the server stops.
    pub async fn serve(self, stopped: watch::Receiver<bool>) {
        asked_by(self.guest.asker.clone(), self.hear_all(stopped)).await;
    }

    async fn hear_all(mut self, mut stopped: watch::Receiver<bool>) {
        let idle_max = self.guest.server.idle_max.unwrap_or(FOR_EVER);
        let mut idle_until = Instant::now() + idle_max;
        let end = loop {
            let portal_until = self.kept.next_end().unwrap_or(idle_until);
            let message = tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => {
                    break Some(Failure::new("57P01", "terminating connection: the server stops"));
                }
                message = timeout_at(idle_until, self.wire.next()) => message,
                () = sleep_until(portal_until), if portal_until < idle_until => {
                    self.kept.end_overdue(Instant::now());
                    continue;
                }
            };
            match message {
                Ok(Some(Ok(message))) => {
                    if !self.hear(message).await {
                        break None;
                    }
                    idle_until = Instant::now() + idle_max;
                }
                Ok(Some(Err(error))) => break Some(Failure::from(error)),
                Ok(None) => break None,
                Err(_) => break Some(Failure::new("57P05", "terminating connection: it was idle for too long")),
            }
        };
        if let Some(failure) = end {
            let _ = say(&mut self.wire, &failure.fatal()).await;
        }
        let _ = self.wire.close().await;
    }

    /// Whether the connection goes on.
    async fn hear(&mut self, message: Message) -> bool {
        let is_extended = message.is_extended_query();
        if self.is_skipping && !matches!(message, Message::Sync(_) | Message::Terminate(_)) {
            return true;
        }
        let cancelled = self.guest.cancel.start_query().await;
        let heard = match select(pin!(self.answer(message)), cancelled).await {
            Either::Left((heard, _)) => heard,
            Either::Right(_) => Err(Failure::cancelled()),
        };
        match heard {
            Ok(goes_on) => goes_on,
            Err(failure) => {
                if failure.is_forbidden() {
                    self.guest.server.gate.note(Reason::Forbidden, WHAT, self.guest.key.as_deref());
                }
                self.fail(&failure, is_extended).await.is_ok() && !failure.is_fatal()
            }
        }
    }

    async fn answer(&mut self, message: Message) -> Result<bool> {
        match message {
            Message::Query(query) => {
                self.query(&query.query).await?;
                self.ready().await?;
            }
            Message::Parse(parse) => self.parse(parse).await?,
            Message::Bind(bind) => self.bind(&bind).await?,
            Message::Describe(describe) => self.describe(&describe).await?,
            Message::Execute(execute) => {
                let rows_max = usize::try_from(execute.max_rows).unwrap_or_default();
                self.execute(&execute.name.unwrap_or_default(), rows_max).await?;
            }
            Message::Close(close) => {
                let name = close.name.unwrap_or_default();
                match close.target_type {
                    TARGET_TYPE_BYTE_STATEMENT => self.kept.forget(&name),
                    _ => self.kept.close(&name),
                }
                self.feed(Say::CloseComplete(CloseComplete::new())).await?;
            }
            Message::Flush(_) => self.wire.flush().await?,
            Message::Sync(_) => {
                self.is_skipping = false;
                self.ready().await?;
            }
            Message::Terminate(_) => return Ok(false),
            // What a client sends after a COPY that was refused.
            Message::CopyData(_) | Message::CopyDone(_) | Message::CopyFail(_) => {}
            _ => return Err(Failure::new("08P01", "a message that does not belong here").fatal()),
        }
        Ok(true)
    }

    /// Statements without parameters, whose rows are text.
    async fn query(&mut self, text: &str) -> Result<()> {
        let commands = self.guest.engine.read(text).await?;
        if commands.is_empty() {
            return self.feed(Say::EmptyQueryResponse(EmptyQueryResponse::new())).await;
        }
        for command in commands {
            match self.run(command, None, None, &Format::UnifiedText).await? {
                Outcome::Done(tag) => self.complete(tag).await?,
                Outcome::Rows(mut answer) => {
                    self.feed(Say::RowDescription(answer.description())).await?;
                    let (_, sent) = send(&mut self.wire, &mut answer, 0).await?;
                    self.complete(&format!("SELECT {sent}")).await?;
                }
            }
        }
        Ok(())
    }

    async fn parse(&mut self, parse: Parse) -> Result<()> {
        let mut commands = self.guest.engine.read(&parse.query).await?;
        if commands.len() > 1 {
            return Err(Failure::new("42601", "cannot insert multiple commands into a prepared statement"));
        }
        let known = |oid: &u32| Type::from_oid(*oid).filter(|kind| *kind != Type::UNKNOWN);
        let hints: Vec<Option<Type>> = parse.type_oids.iter().map(known).collect();
        let without_parameters = |schema| Description { parameters: Vec::new(), schema };
        let description = match commands.pop() {
            Some(Command::Rows(question)) => {
                // It is planned, which is work: nobody has it done who is not let in.
                let _turn = self.guest.turn().await?;
                let hints: Vec<_> = hints.iter().map(|kind| answer::parameter_type(kind.as_ref())).collect();
                self.guest.engine.describe(&question, &hints).await?
            }
            Some(Command::Show(name)) => without_parameters(answer::text_schema(&name)),
            _ => without_parameters(SchemaRef::new(Schema::empty())),
        };
        let name = parse.name.unwrap_or_default();
        self.kept.prepare(name, Prepared { text: parse.query, description, hints })?;
        self.feed(Say::ParseComplete(ParseComplete::new())).await
    }

    async fn bind(&mut self, bind: &Bind) -> Result<()> {
        let prepared = self.kept.statement(bind.statement_name.as_deref().unwrap_or_default())?;
        let bound = Bound::new(prepared, bind)?;
        self.kept.bind(bind.portal_name.clone().unwrap_or_default(), bound)?;
        self.feed(Say::BindComplete(BindComplete::new())).await
    }

    async fn describe(&mut self, describe: &Describe) -> Result<()> {
        let name = describe.name.as_deref().unwrap_or_default();
        let (prepared, format) = match describe.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                let prepared = self.kept.statement(name)?;
                let kinds = prepared.parameter_types().iter().map(Type::oid).collect();
                self.feed(Say::ParameterDescription(ParameterDescription::new(kinds))).await?;
                (prepared, Format::UnifiedText)
            }
            TARGET_TYPE_BYTE_PORTAL => {
                let bound = self.kept.portal(name)?;
                (Arc::clone(&bound.prepared), bound.format.clone())
            }
            _ => return Err(Failure::new("08P01", "what is described is a statement or a portal").fatal()),
        };
        if !prepared.has_columns() {
            return self.feed(Say::NoData(NoData::new())).await;
        }
        let columns = answer::columns(&prepared.description.schema, &format)?;
        self.feed(Say::RowDescription(answer::description(&columns))).await
    }

    async fn execute(&mut self, name: &str, rows_max: usize) -> Result<()> {
        let bound = self.kept.portal(name)?;
        if bound.answer.is_none() {
            let (prepared, values, format) = (Arc::clone(&bound.prepared), bound.values.clone(), bound.format.clone());
            let Some(command) = self.guest.engine.read(&prepared.text).await?.pop() else {
                return self.feed(Say::EmptyQueryResponse(EmptyQueryResponse::new())).await;
            };
            match self.run(command, Some(values), Some(&prepared.description.schema), &format).await? {
                Outcome::Done(tag) => return self.complete(tag).await,
                Outcome::Rows(answer) => self.kept.portal(name)?.answer = Some(answer),
            }
        }
        let Some(answer) = self.kept.portal(name)?.answer.as_mut() else { return Ok(()) };
        let (is_suspended, sent) = send(&mut self.wire, answer, rows_max).await?;
        if is_suspended {
            return self.feed(Say::PortalSuspended(PortalSuspended::new())).await;
        }
        self.complete(&format!("SELECT {sent}")).await
    }

    async fn run(
        &mut self,
        command: Command,
        values: Option<Values>,
        described: Option<&SchemaRef>,
        format: &Format,
    ) -> Result<Outcome> {
        let is_failed = self.transaction == TransactionStatus::Error;
        if is_failed && !matches!(command, Command::Commit | Command::Rollback) {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Failure::new("25P02", message));
        }
        let done = match command {
            Command::Rows(question) => {
                let answer = self.guest.ask(&question, values, described, format).await?;
                return Ok(Outcome::Rows(answer));
            }
            Command::Show(name) => {
                return Ok(Outcome::Rows(Answer::of_text(&name, self.guest.settings.get(&name)?)?));
            }
            Command::Set(name, value) => {
                self.guest.settings.set(&name, value)?;
                "SET"
            }
            Command::ResetAll => {
                self.guest.settings.reset();
                "RESET"
            }
            Command::Begin => {
                self.transaction = TransactionStatus::Transaction;
                "BEGIN"
            }
            Command::Commit | Command::Rollback => {
                self.transaction = TransactionStatus::Idle;
                self.kept.close_all();
                if matches!(command, Command::Commit) && !is_failed { "COMMIT" } else { "ROLLBACK" }
            }
            Command::DiscardAll => {
                self.guest.settings.reset();
                self.kept.forget_all();
                "DISCARD ALL"
            }
            Command::Deallocate(None) => {
                self.kept.forget_all();
                "DEALLOCATE ALL"
            }
            Command::Deallocate(Some(name)) => {
                self.kept.statement(&name)?;
                self.kept.forget(&name);
                "DEALLOCATE"
            }
            Command::Harmless(tag) => tag,
        };
        Ok(Outcome::Done(done))
    }

    async fn fail(&mut self, failure: &Failure, is_extended: bool) -> Result<()> {
        if self.transaction == TransactionStatus::Transaction {
            self.transaction = TransactionStatus::Error;
        }
        // With them end their statements.
        self.kept.close_all();
        say(&mut self.wire, failure).await?;
        if failure.is_fatal() {
            return Ok(());
        }
        // The others of the messages that were sent with the one that failed are not for us any more.
        self.is_skipping = is_extended;
        if is_extended { Ok(()) } else { self.ready().await }
    }

    /// The end of what was asked: the client may ask again. Portals live as long as their transaction.
    async fn ready(&mut self) -> Result<()> {
        if self.transaction == TransactionStatus::Idle {
            self.kept.close_all();
        }
        self.feed(Say::ReadyForQuery(ReadyForQuery::new(self.transaction))).await?;
        Ok(self.wire.flush().await?)
    }

    async fn complete(&mut self, tag: &str) -> Result<()> {
        self.feed(Say::CommandComplete(CommandComplete::new(tag.to_owned()))).await
    }

    async fn feed(&mut self, message: Say) -> Result<()> {
        Ok(self.wire.feed(message).await?)
    }
}

/// Sends rows, so many or all; says whether there may be more, and how many it sent.
async fn send(wire: &mut Wire, answer: &mut Answer, rows_max: usize) -> Result<(bool, usize)> {
    let mut sent = 0;
    while rows_max == 0 || sent < rows_max {
        let Some(row) = answer.next().await else { return Ok((false, sent)) };
        wire.feed(Say::DataRow(row?)).await?;
        sent += 1;
    }
    Ok((true, sent))
}

/// Tells the client of a failure.
pub async fn say(wire: &mut Wire, failure: &Failure) -> std::io::Result<()> {
    wire.send(Say::ErrorResponse(failure.response())).await
}
