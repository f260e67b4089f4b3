//! How many tokens calls use: quantile tables of real traffic, and how to draw from them.
//!
//! A table holds the quantiles of one data set at the probabilities Φ(−3.6), Φ(−3.4), …, Φ(3.6),
//! where Φ is the standard normal distribution function. A draw is then one look-up with linear
//! interpolation at a standard normal score, and a prompt and its completion take correlated scores
//! (a Gaussian copula). The last entry stands for everything beyond it.
//!
//! The tables were computed once, from these public data sets, over calls that did not fail and
//! have both counts, with linear interpolation between order statistics; `correlation` is
//! 2 sin(π ρ / 6) of Spearman's ρ:
//!
//! | table | data | calls | licence |
//! |---|---|---|---|
//! | [`CODE`] | Azure/AzurePublicDataset, LLM inference trace 2023, code service | 8,819 | CC-BY-4.0 |
//! | [`CHAT`] | the same, conversation service | 19,366 | CC-BY-4.0 |
//! | [`LONG_CONTEXT`] | Aider-AI/aider, sample analytics of a coding agent, 2024–2026 | 5,378 | Apache-2.0 |
//!
//! The Azure traces are described in Patel et al., "Splitwise", ISCA 2024. Only these derived
//! quantiles are kept here, none of the records.

/// The normal score of the first entry and the distance between entries.
const FIRST_SCORE: f64 = -3.6;
const SCORE_STEP: f64 = 0.2;

/// Quantiles at the 37 normal scores from −3.6 to 3.6.
type Quantiles = [u32; 37];

/// The token counts of one kind of traffic.
#[derive(Debug)]
pub(super) struct TokenTable {
    pub(super) prompt: Quantiles,
    pub(super) completion: Quantiles,
    /// Correlation of the two normal scores.
    pub(super) correlation: f64,
    /// √(1 − correlation²), the weight of what is the completion's own.
    independence: f64,
}

impl TokenTable {
    /// Tokens of a prompt and its completion, from two independent standard normal scores.
    pub(super) fn tokens(&self, prompt_score: f64, own_score: f64) -> (f64, f64) {
        let completion_score = self.correlation * prompt_score + self.independence * own_score;
        (quantile(&self.prompt, prompt_score), quantile(&self.completion, completion_score))
    }
}

fn quantile(table: &Quantiles, score: f64) -> f64 {
    let last = table.len() - 1;
    let position = ((score - FIRST_SCORE) / SCORE_STEP).clamp(0.0, last as f64);
    let index = (position as usize).min(last - 1);
    let (low, high) = (f64::from(table[index]), f64::from(table[index + 1]));
    low + (high - low) * (position - index as f64)
}

/// Code completion: prompts of up to a fixed limit, answers of a few tokens.
pub(super) static CODE: TokenTable = TokenTable {
    prompt: [
        3, 6, 6, 7, 10, 12, 16, 23, 40, 57, 80, 110, 173, 250, 430, 676, 917, 1136, 1469, 1818, 2189, 2587, 3050, 3742,
        4677, 5932, 6981, 7435, 7436, 7436, 7436, 7436, 7436, 7437, 7437, 7437, 7437,
    ],
    completion: [
        6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 7, 8, 9, 9, 10, 12, 13, 15, 18, 22, 28, 37, 49, 64, 85, 112, 153, 208, 274,
        382, 595, 785, 848, 928, 1141,
    ],
    correlation: -0.022,
    independence: 0.999_757_970,
};

/// Conversation.
pub(super) static CHAT: TokenTable = TokenTable {
    prompt: [
        2, 7, 7, 8, 10, 16, 25, 49, 120, 181, 181, 202, 215, 374, 390, 400, 412, 906, 1020, 1060, 1100, 1154, 1313,
        1714, 2480, 4073, 4081, 4088, 4094, 4116, 4157, 4893, 5384, 5977, 6417, 7019, 7209,
    ],
    completion: [
        11, 12, 12, 12, 12, 14, 14, 18, 27, 36, 43, 50, 58, 69, 79, 88, 95, 107, 129, 163, 221, 391, 398, 411, 419,
        429, 446, 484, 531, 576, 612, 646, 716, 939, 982, 1000, 1000,
    ],
    correlation: 0.076,
    independence: 0.997_107_818,
};

/// A coding agent that carries whole files in its context.
pub(super) static LONG_CONTEXT: TokenTable = TokenTable {
    prompt: [
        63, 63, 63, 64, 68, 78, 79, 79, 79, 142, 706, 1711, 2346, 3563, 4770, 6353, 7696, 8878, 10012, 11756, 14086,
        16530, 19493, 23201, 26518, 30341, 33949, 38224, 41943, 44654, 49272, 56681, 70179, 73993, 76826, 82901,
        172_977,
    ],
    completion: [
        1, 1, 2, 3, 5, 9, 9, 10, 14, 23, 33, 46, 73, 102, 135, 172, 217, 273, 330, 406, 503, 612, 735, 879, 1079, 1313,
        1636, 2038, 2561, 3067, 3811, 5205, 7116, 7674, 10215, 11408, 13245,
    ],
    correlation: 0.395,
    independence: 0.918_681_120,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_rise_and_correlations_fit() {
        for table in [&CODE, &CHAT, &LONG_CONTEXT] {
            assert!(table.prompt.is_sorted() && table.completion.is_sorted());
            let norm = table.correlation.powi(2) + table.independence.powi(2);
            assert!((norm - 1.0).abs() < 1e-8, "{norm}");
        }
    }

    #[test]
    fn a_score_finds_its_quantile() {
        assert_eq!(CODE.tokens(0.0, 0.0).0, 1469.0);
        assert_eq!(CODE.tokens(0.1, 0.0).0.round(), 1644.0, "halfway to the next entry");
        assert_eq!(CODE.tokens(-9.0, 0.0).0, 3.0);
        assert_eq!(CODE.tokens(9.0, 0.0).0, 7437.0);
    }
}
