//! From a frame to a score for each label, or to the word that nothing has changed.

use super::gate::Gate;
use ocelli::preprocess::{PixelView, Tiles};
use ocelli::score::Scored;
use ocelli::{Classifier, Error, ImageEncoder, Result};

/// One bound of a region.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Length {
    Pixels(u32),
    Percent(f32),
}

impl Length {
    fn of(self, side: u32) -> u32 {
        match self {
            Length::Pixels(pixels) => pixels,
            Length::Percent(percent) => (f64::from(side) * f64::from(percent) / 100.0).round() as u32,
        }
    }
}

/// The part of the frames that counts: left, top, width and height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Region(pub(crate) [Length; 4]);

impl Region {
    /// `100,50,320,240` in pixels, or `10%,0%,50%,100%`.
    pub(crate) fn parse(text: &str) -> Result<Region, String> {
        let length = |part: &str| {
            let part = part.trim();
            match part.strip_suffix('%') {
                Some(percent) => {
                    let percent = percent.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
                    percent.map(Length::Percent)
                }
                None => part.parse().ok().map(Length::Pixels),
            }
        };
        let parts: Option<Vec<Length>> = text.split(',').map(length).collect();
        let region = parts.and_then(|parts| parts.try_into().ok()).map(Region);
        region.ok_or_else(|| {
            format!(
                "{text:?}: expected left, top, width and height in pixels or per cent, as in 10%,0%,50%,100%"
            )
        })
    }

    /// That part of `view`.
    ///
    /// # Errors
    /// It has no pixels, or does not lie inside.
    pub(crate) fn view<'a>(&self, view: &PixelView<'a>) -> Result<PixelView<'a>> {
        let (wide, high) = (view.width(), view.height());
        let [left, top, width, height] = self.0;
        let part = view.crop(left.of(wide), top.of(high), width.of(wide), height.of(high));
        part.map_err(|error| Error::Message(format!("--roi in a frame of {wide}x{high}: {error}")))
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Looked {
    /// It has scores of its own.
    Scored,
    /// It shows what the one before showed, and has its scores.
    Unchanged,
}

/// The classifier behind its gate.
#[derive(Debug)]
pub(crate) struct Scorer {
    classifier: Classifier,
    region: Option<Region>,
    /// At most so many rows and columns of tiles.
    any_res: Option<Tiles>,
    gate: Option<Gate>,
    /// Seconds after which a frame is scored even if nothing has changed.
    refresh: f64,
    scored_at: Option<f64>,
    best: Vec<Scored>,
    scores: Vec<f32>,
}

impl Scorer {
    /// Without `gate`, every frame is scored.
    pub(crate) fn new(
        classifier: Classifier,
        region: Option<Region>,
        any_res: Option<Tiles>,
        gate: Option<Gate>,
        refresh: f64,
    ) -> Scorer {
        let labels = classifier.labels().len();
        let (best, scores) = (vec![Scored::default(); labels], vec![0.0; labels]);
        Scorer { classifier, region, any_res, gate, refresh, scored_at: None, best, scores }
    }

    /// Looks at a frame at `time`, in seconds. Allocates nothing.
    ///
    /// # Errors
    /// What the encoder refuses, or a region that does not lie in the frame.
    pub(crate) fn look(&mut self, view: &PixelView<'_>, time: f64) -> Result<Looked> {
        let part = match &self.region {
            Some(region) => region.view(view)?,
            None => *view,
        };
        let old = self.scored_at.is_none_or(|at| time - at >= self.refresh);
        if let Some(gate) = &mut self.gate {
            if !gate.is_changed(&part) && !old {
                return Ok(Looked::Unchanged);
            }
            gate.accept();
        }
        match self.any_res {
            None => self.classifier.classify_into(&part, &mut self.best)?,
            Some(most) => {
                let tiles = self.classifier.encoder().fit_tiles(most, &part);
                self.classifier.classify_tiles_into(&part, tiles, &mut self.best, &mut |_, _| ())?;
            }
        }
        for scored in &self.best {
            self.scores[scored.label] = scored.score;
        }
        self.scored_at = Some(time);
        Ok(Looked::Scored)
    }

    /// The last scores, one for each label.
    pub(crate) fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The encoder.
    pub(crate) fn encoder(&self) -> &ImageEncoder {
        self.classifier.encoder()
    }

    /// The labels.
    pub(crate) fn names(&self) -> Vec<String> {
        let labels = self.classifier.labels();
        (0..labels.len()).map(|label| labels.name(label).to_owned()).collect()
    }

    /// Whether any frame has been scored.
    pub(crate) fn has_scores(&self) -> bool {
        self.scored_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocelli::preprocess::Packed;

    #[test]
    fn a_region_is_given_in_pixels_or_per_cent_and_lies_inside() {
        let pixels = vec![0; 200 * 100];
        let view = PixelView::new(Packed::Gray, &pixels, 200, 100, 200).unwrap();
        let part = |text: &str| {
            let part = Region::parse(text).unwrap().view(&view).map_err(|error| error.to_string())?;
            Ok::<_, String>((part.width(), part.height()))
        };
        assert_eq!(part("10,20,30,40"), Ok((30, 40)));
        assert_eq!(part("50%, 0%, 50%, 100%"), Ok((100, 100)));
        assert_eq!(part("0,0,33.3%,1"), Ok((67, 1)));
        assert!(part("150,0,51,10").unwrap_err().contains("200x100"));
        assert!(part("0,0,0,10").unwrap_err().contains("--roi"));
        for wrong in ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "-1,0,1,1", "0,0,101%,1", "0,0,NaN%,1"] {
            assert!(Region::parse(wrong).unwrap_err().contains("expected"), "{wrong}");
        }
    }
}
