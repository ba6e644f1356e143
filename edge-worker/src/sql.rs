//! The seam to the object's SQLite: statements, rows and transactions. The only file that hands JavaScript values to SQL.
//!
//! It knows no table. Numbers pass through doubles, so nothing above 2^53 - 1 may be bound or read; texts are UTF-8 on
//! both sides and may hold NUL.

use headwater_core::store::StoreError;
use js_sys::{Array, Iterator};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::worker_sys::types::SqlStorage;

#[wasm_bindgen]
extern "C" {
    /// `DurableObjectStorage` as far as `worker` does not bind it.
    type TransactionalStorage;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &TransactionalStorage,
        body: &mut dyn FnMut() -> Result<JsValue, JsValue>,
    ) -> Result<JsValue, JsValue>;
}

/// A value bound to a `?` of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bind<'a> {
    /// An integer up to 2^53 - 1.
    Number(u64),
    Text(&'a str),
    Null,
}

impl From<Bind<'_>> for JsValue {
    fn from(bind: Bind<'_>) -> Self {
        match bind {
            // Every number a line may carry is at most 2^53 - 1, and counts of rows are far below.
            #[expect(clippy::cast_precision_loss, reason = "integers up to 2^53 are exact in a double")]
            Bind::Number(number) => Self::from_f64(number as f64),
            Bind::Text(text) => Self::from_str(text),
            Bind::Null => Self::NULL,
        }
    }
}

/// One row of a result, its columns numbered from 0.
pub(crate) struct Row(Array);

impl Row {
    /// An integer column.
    pub(crate) fn number(&self, column: u32) -> Result<u64, StoreError> {
        self.optional_number(column)?.ok_or_else(|| StoreError(format!("column {column} is NULL")))
    }

    /// An integer column that may be NULL.
    pub(crate) fn optional_number(&self, column: u32) -> Result<Option<u64>, StoreError> {
        let value = self.0.get(column);
        if value.is_null() {
            return Ok(None);
        }
        let number = value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a natural number")]
        number.map(|number| Some(number as u64)).ok_or_else(|| StoreError(format!("column {column} is not an integer")))
    }

    /// An integer column that may be negative.
    pub(crate) fn signed(&self, column: u32) -> Result<i64, StoreError> {
        let number = self.0.get(column).as_f64().filter(|number| number.fract() == 0.0);
        #[expect(clippy::cast_possible_truncation, reason = "checked to be an integer")]
        number.map(|number| number as i64).ok_or_else(|| StoreError(format!("column {column} is not an integer")))
    }

    /// A text column.
    pub(crate) fn text(&self, column: u32) -> Result<String, StoreError> {
        self.0.get(column).as_string().ok_or_else(|| StoreError(format!("column {column} is not a text")))
    }
}

/// The object's database.
pub(crate) struct Sql {
    storage: TransactionalStorage,
    sql: SqlStorage,
}

impl Sql {
    /// The database of the object whose storage this is.
    pub(crate) fn new(storage: &worker::Storage) -> Self {
        let sql: &JsValue = &storage.as_raw().sql();
        Self {
            storage: AsRef::<JsValue>::as_ref(storage.as_raw()).clone().unchecked_into(),
            sql: sql.clone().unchecked_into(),
        }
    }

    /// Carries out a statement.
    pub(crate) fn run(&self, statement: &str, binds: &[Bind<'_>]) -> Result<(), StoreError> {
        let binds = binds.iter().map(|bind| JsValue::from(*bind)).collect::<Array>();
        self.sql.exec(statement, binds).map(drop).map_err(|error| failure(&error))
    }

    /// Carries out a query and reads each row. All rows of a query are read at once: ask for as many as fit in memory.
    pub(crate) fn rows<T>(
        &self,
        query: &str,
        binds: &[Bind<'_>],
        mut read: impl FnMut(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let binds = binds.iter().map(|bind| JsValue::from(*bind)).collect::<Array>();
        let rows: Iterator = self.sql.exec(query, binds).map_err(|error| failure(&error))?.raw();
        let mut out = Vec::new();
        loop {
            let step = rows.next().map_err(|error| failure(&error))?;
            if step.done() {
                return Ok(out);
            }
            out.push(read(&Row(step.value().unchecked_into()))?);
        }
    }

    /// The first row of a query that has at most one.
    pub(crate) fn row<T>(
        &self,
        query: &str,
        binds: &[Bind<'_>],
        read: impl FnMut(&Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.rows(query, binds, read)?.pop())
    }

    /// Carries out `body` as one: when it fails, the database is as it was.
    pub(crate) fn transaction<T>(&self, body: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut body = Some(body);
        let mut outcome = None;
        let thrown = self.storage.transaction_sync(&mut || match body.take().map(|body| body()) {
            Some(Ok(value)) => {
                outcome = Some(Ok(value));
                Ok(JsValue::UNDEFINED)
            }
            // Throwing is how the runtime is told to roll back.
            Some(Err(error)) => {
                let thrown = JsValue::from_str(&error.0);
                outcome = Some(Err(error));
                Err(thrown)
            }
            None => Err(JsValue::from_str("the transaction's body ran twice")),
        });
        match (outcome, thrown) {
            (Some(Ok(value)), Ok(_)) => Ok(value),
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(failure(&error)),
            (None, Ok(_)) => Err(StoreError("the transaction's body did not run".into())),
        }
    }

    /// Bytes the database takes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a file's size")]
        let bytes = self.sql.database_size() as u64;
        bytes
    }
}

fn failure(error: &JsValue) -> StoreError {
    let message = error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    StoreError(message.or_else(|| error.as_string()).unwrap_or_else(|| format!("{error:?}")))
}
