//! Times of the ways entries come in, for the performance table.

use super::{Database, Outcome, Writer, failed, scan_all, short};
use headwater_core::record::Record;
use headwater_core::store::Store;

impl Database<'_> {
    /// Times of the ways entries come in, for the performance table.
    pub(super) fn load(&self, keys: u64) -> Outcome {
        let clock = || worker::Date::now().as_millis();
        let store = self.empty()?;
        let key = |n: u64| format!("key:{n:07}");
        let value = format!("{{\"on\":true,\"x\":\"{}\"}}", "y".repeat(80));
        let start = clock();
        let mut writer = Writer::new(&store)?;
        for n in 0..keys {
            writer.set(&key(n), &value, "")?;
            if store.flush_is_due() {
                store.flush().map_err(failed)?;
            }
        }
        store.flush().map_err(failed)?;
        let lines = clock() - start;
        let facts = store.collections().map_err(failed)?;
        let records = scan_all(&store)?;
        let scanned = clock() - start - lines;
        let mut report = format!("{keys} lines applied in {lines} ms, scanned in {scanned} ms;");
        for (what, every) in [("the same", 0), ("one in ten changed", 10), ("all changed", 1)] {
            let changed: Vec<Record> = records
                .iter()
                .enumerate()
                .map(|(n, record)| if every > 0 && n % every == 0 { short(record) } else { record.clone() })
                .collect();
            let start = clock();
            store.stage().map_err(failed)?;
            for chunk in changed.chunks(30) {
                store.stage_records("c", chunk).map_err(failed)?;
            }
            let staged = clock() - start;
            store.swap(facts.clone(), &store.progress()).map_err(failed)?;
            let swapped = clock() - start - staged;
            while store.fold_step(500).map_err(failed)? {}
            let folded = clock() - start - staged - swapped;
            report += &format!(" baseline ({what}): staged {staged}, swapped {swapped}, folded {folded} ms;");
        }
        let store = self.empty()?;
        let start = clock();
        store.stage().map_err(failed)?;
        for chunk in records.chunks(30) {
            store.stage_records("c", chunk).map_err(failed)?;
        }
        store.swap(facts, &store.progress()).map_err(failed)?;
        Ok(report + &format!(" first baseline: {} ms; {} bytes stored", clock() - start, store.bytes_stored()))
    }
}
