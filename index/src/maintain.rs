//! Looking after a store: finding damage, and letting go of what is no longer there.

use crate::error::{Error, Result};
use crate::store::{ELEMENTS, Store, catalog_file};

impl Store {
    /// Reads every row of both files and forgets those that are damaged, so that the next update embeds them again. Gives
    /// how many were read and how many of them are damaged.
    ///
    /// # Errors
    /// The system refuses to read or write.
    pub fn verify(&mut self) -> Result<(usize, usize)> {
        let found = self.catalog.connection().query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        let found: String = self.catalog.sql(found)?;
        if found != "ok" {
            let problem = format!("{found}: remove the index and make it again");
            return Err(Error::NotAnIndex { path: catalog_file(&self.folder), problem });
        }
        let maps = [self.map(ELEMENTS[0])?, self.map(ELEMENTS[1])?];
        let used = self
            .catalog
            .all("SELECT row FROM pictures WHERE row NOT NULL", [], |row| row.get::<_, i64>(0))?;
        let damaged = used.iter().filter(|&&row| !maps.iter().all(|map| map.is_whole(row as usize)));
        let damaged: Vec<i64> = damaged.copied().collect();
        self.catalog.transaction(|| {
            damaged.iter().try_for_each(|&row| self.forget_rows("row = ?", row as u64).map(|_| ()))
        })?;
        self.writing().rows = self.catalog.rows()?;
        Ok((used.len(), damaged.len()))
    }

    /// Lets go of pictures that no file shows any more, and of their rows. Gives how many went.
    ///
    /// # Errors
    /// The system refuses to write, or a row that is kept is damaged. Then the store is as it was.
    pub fn compact(&mut self) -> Result<usize> {
        let maps = [self.map(ELEMENTS[0])?, self.map(ELEMENTS[1])?];
        let next = self.generation + 1;
        let kept = "SELECT id, row FROM pictures WHERE row NOT NULL
                    AND id IN (SELECT picture FROM files) ORDER BY row";
        let kept = self.catalog.all(kept, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        let (mut files, _) = self.open_files(next)?;
        // Rows that are written at once: a few megabytes.
        const STEP: usize = 1024;
        for (step, few) in kept.chunks(STEP).enumerate() {
            for (i, (_, row)) in few.iter().enumerate() {
                for (file, map) in files.iter_mut().zip(&maps) {
                    file.push_copy(map, *row as usize, (step * STEP + i) as u64)?;
                }
            }
            files.iter_mut().try_for_each(|file| file.write((step * STEP) as u64))?;
        }
        let gone = self.catalog.transaction(|| {
            let gone =
                "DELETE FROM pictures WHERE id NOT IN (SELECT picture FROM files WHERE picture NOT NULL)";
            let gone = self.catalog.run(gone, [])?;
            // In ascending order no row is moved to where another one still is.
            for (row, (id, _)) in kept.iter().enumerate() {
                self.catalog.run("UPDATE pictures SET row = ? WHERE id = ?", [row as i64, *id])?;
            }
            self.catalog.set_meta("generation", next as i64)?;
            Ok(gone)
        })?;
        self.generation = next;
        let writing = self.writing();
        (writing.files, writing.rows) = (files, kept.len() as u64);
        self.sweep()?;
        Ok(gone)
    }
}
