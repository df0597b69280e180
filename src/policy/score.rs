//! From response time and facts to a grade (specification, "Niveaux de Santé").

use crate::model::Grade;

/// What is known of a camera that answers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Facts {
    pub response_time_ms: u32,
    /// Frames were looked for and none came.
    pub no_frame: bool,
    pub measured_fps: Option<f64>,
    pub announced_fps: Option<f64>,
    /// Times that the camera came back within the last hour.
    pub reconnects_last_hour: u32,
}

/// Grade by response time alone: below 500 ms excellent, below 1500 good, up to 3000 fair, else poor.
pub fn by_response_time(ms: u32) -> Grade {
    match ms {
        0..500 => Grade::Excellent,
        500..1500 => Grade::Good,
        1500..=3000 => Grade::Fair,
        _ => Grade::Poor,
    }
}

/// Grade by response time, capped by the facts: a frozen camera answers fast.
pub fn grade(facts: &Facts) -> Grade {
    let mut cap = Grade::Excellent;
    if let (Some(measured), Some(announced)) = (facts.measured_fps, facts.announced_fps)
        && measured < announced / 2.0
    {
        cap = Grade::Fair;
    }
    if facts.reconnects_last_hour >= 3 {
        cap = Grade::Fair;
    }
    if facts.no_frame {
        cap = Grade::Poor;
    }
    by_response_time(facts.response_time_ms).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_limits() {
        let grades = [0, 499, 500, 1499, 1500, 3000, 3001].map(by_response_time);
        use Grade::{Excellent, Fair, Good, Poor};
        assert_eq!(grades, [Excellent, Excellent, Good, Good, Fair, Fair, Poor]);
    }

    #[test]
    fn facts_cap_the_grade_and_never_raise_it() {
        let fast = Facts {
            response_time_ms: 20,
            ..Facts::default()
        };
        assert_eq!(grade(&fast), Grade::Excellent);
        assert_eq!(
            grade(&Facts {
                no_frame: true,
                ..fast
            }),
            Grade::Poor
        );
        assert_eq!(
            grade(&Facts {
                reconnects_last_hour: 3,
                ..fast
            }),
            Grade::Fair
        );
        let half = Facts {
            measured_fps: Some(12.0),
            announced_fps: Some(25.0),
            ..fast
        };
        assert_eq!(grade(&half), Grade::Fair);
        assert_eq!(
            grade(&Facts {
                response_time_ms: 5000,
                ..half
            }),
            Grade::Poor
        );
    }
}
