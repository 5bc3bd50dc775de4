//! How many tokens of an image are merged after each block's attention.

use super::config::{Config, TowerConfig, VisionConfig};
use super::feature;
use super::stored::Pooling;
use core::str::FromStr;

/// Token merging (ToMe, arXiv 2210.09461): after the attention of each block from [`first`](Self::first) to the last but
/// one, the most alike tokens of patches become one, and the blocks after it have fewer to work on. How many rises from
/// block to block, as [`count`](Self::count) says, because what is merged late costs less accuracy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merging {
    /// Tokens that the last merging block takes out of an image of the model's own size; 0: nothing is merged.
    pub most: u32,
    /// The first block that merges, counted from 0.
    pub first: u32,
    /// How the number rises: 0 every block merges as many, 1 in a line, 2 and 3 with the second and third power.
    pub power: u32,
}

impl Merging {
    /// Nothing is merged.
    pub const NONE: Merging = Merging { most: 0, first: 0, power: 0 };
    /// Largest [`power`](Self::power).
    pub const MAX_POWER: u32 = 3;

    /// What `tower` stores.
    pub const fn of(tower: &TowerConfig) -> Merging {
        Merging { most: tower.merge_most, first: tower.merge_first, power: tower.merge_power }
    }

    /// Whether nothing is merged.
    pub const fn is_none(&self) -> bool {
        self.most == 0
    }

    /// Tokens that block `block` of `depth` takes out of an image: `most · ((block − first + 1)/(depth − 1 − first))^power`,
    /// rounded, times `patches` of the image per patch of the model's own size, `own`; at most half of the `left` tokens
    /// of patches.
    pub fn count(&self, block: usize, depth: usize, (patches, own): (usize, usize), left: usize) -> usize {
        let first = self.first as usize;
        if self.is_none() || own == 0 || block < first || block + 1 >= depth {
            return 0;
        }
        let power = self.power.min(Self::MAX_POWER);
        let of = |i: usize, times: u128| (i as u128).pow(power) * times;
        let wanted = of(block - first + 1, u128::from(self.most) * patches as u128);
        let unit = of(depth - 1 - first, own as u128);
        let wanted = (wanted + unit / 2) / unit;
        usize::try_from(wanted).unwrap_or(usize::MAX).min(left / 2)
    }

    /// Tokens that go into each block, and into what follows the last one, of an image of `patches` patches and `prefix`
    /// other tokens.
    pub fn tokens(
        &self,
        depth: usize,
        (patches, own): (usize, usize),
        prefix: usize,
    ) -> impl Iterator<Item = usize> + use<> {
        let (this, mut left) = (*self, patches);
        (0..=depth).map(move |block| {
            let tokens = prefix + left;
            left -= this.count(block, depth, (patches, own), left);
            tokens
        })
    }
}

impl FromStr for Merging {
    type Err = &'static str;

    /// `MOST`, `MOST:FIRST` or `MOST:FIRST:POWER`; what is left out is 0. `0` merges nothing.
    fn from_str(text: &str) -> Result<Merging, &'static str> {
        let mut numbers = [0u32; 3];
        for (i, part) in text.split(':').enumerate() {
            let number = numbers.get_mut(i).ok_or("at most three numbers, as in 16:3:1")?;
            *number = part.parse().map_err(|_| "whole numbers from 0 on, as in 16, 16:3 or 16:3:1")?;
        }
        let [most, first, power] = numbers;
        if power > Merging::MAX_POWER {
            return Err("the third number, the power, is 0 to 3");
        }
        Ok(if most == 0 { Merging::NONE } else { Merging { most, first, power } })
    }
}

impl VisionConfig {
    /// Why tokens of this tower cannot be merged; `None` if they can.
    pub fn no_merging(&self) -> Option<&'static str> {
        if self.rope != 0 {
            Some("its positions are rotary: each token has a place of its own in every block")
        } else if self.max_patches > 0 || self.pyramid_stride > 0 {
            Some("its images have no fixed grid of patches")
        } else if self.tower.has(feature::ATTENTION_NORM) {
            Some("it has a norm after attention")
        } else {
            None
        }
    }

    /// Patches of an image of the model's own size.
    pub const fn patches(&self) -> usize {
        (self.height / self.patch) as usize * (self.width / self.patch) as usize
    }
}

impl Config {
    /// Multiply-accumulates of the image tower's blocks with `merging` as a share of those without, attention's counted
    /// `float` times, as floats take longer than int8.
    pub fn share_with(&self, merging: &Merging, float: f64) -> f64 {
        let vision = &self.vision;
        let tower = &vision.tower;
        let (width, inner) = (f64::from(tower.width), tower.attention_width() as f64);
        let of_token = width * (4.0 * inner + tower.fc1_width() as f64 + f64::from(tower.mlp_width));
        let mlp = width * (tower.fc1_width() as f64 + f64::from(tower.mlp_width));
        let (depth, patches) = (tower.depth as usize, vision.patches());
        let macs = |merging: &Merging| -> f64 {
            let prefix = vision.prefix_tokens as usize;
            let before = merging.tokens(depth, (patches, patches), prefix);
            let after = merging.tokens(depth, (patches, patches), prefix).skip(1);
            // The tokens that are merged have been through attention, not through the MLP; and in the last block nothing but
            // keys and values are computed of tokens that nobody reads.
            let block = |(i, (before, after)): (usize, (usize, usize))| {
                let (before, after) = (before as f64, after as f64);
                if i + 1 == depth && tower.pooling == Pooling::Class as u32 {
                    return before * 2.0 * width * inner;
                }
                before * (of_token - mlp) + float * 2.0 * before * before * inner + after * mlp
            };
            before.zip(after).enumerate().map(block).sum()
        };
        macs(merging) / macs(&Merging::NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn schedules_are_read_from_text() {
        let read = |text: &str| text.parse::<Merging>();
        assert_eq!(read("16:3:1"), Ok(Merging { most: 16, first: 3, power: 1 }));
        assert_eq!(
            (read("16"), read("0:3:1")),
            (Ok(Merging { most: 16, first: 0, power: 0 }), Ok(Merging::NONE))
        );
        for wrong in ["", "a", "-1", "16:", "1:2:3:4", "1:2:4", "1.5"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn counts_rise_and_stay_below_half() {
        let counts = |merging: Merging, own: usize, patches: usize| {
            let mut left = patches;
            let count = |block| {
                let count = merging.count(block, 12, (patches, own), left);
                left -= count;
                count
            };
            (0..12).map(count).collect::<Vec<_>>()
        };
        let merging = |most, first, power| Merging { most, first, power };
        assert_eq!(counts(Merging::NONE, 196, 196), [0; 12]);
        assert_eq!(counts(merging(8, 0, 0), 196, 196), [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 0]);
        assert_eq!(counts(merging(16, 3, 1), 196, 196), [0, 0, 0, 2, 4, 6, 8, 10, 12, 14, 16, 0]);
        assert_eq!(counts(merging(25, 6, 2), 196, 196), [0, 0, 0, 0, 0, 0, 1, 4, 9, 16, 25, 0]);
        // Four times as many patches merge four times as many tokens.
        assert_eq!(counts(merging(16, 7, 0), 49, 196), [0, 0, 0, 0, 0, 0, 0, 64, 64, 34, 17, 0]);
        assert_eq!(counts(merging(2, 0, 0), 4, 4), [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let tokens: Vec<usize> = merging(25, 6, 2).tokens(12, (196, 196), 1).collect();
        assert_eq!(tokens, [197, 197, 197, 197, 197, 197, 197, 196, 192, 183, 167, 142, 142]);
    }
}
