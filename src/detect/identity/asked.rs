//! What a device showed when it was asked, so that nothing is asked twice: a scan looks at its ports
//! while other answers are still awaited, and judges when all are there.

use crate::brake::Errand;
use crate::detect::Detector;
use crate::model::Scheme;
use crate::probe::http::{self, HttpBanner};
use crate::probe::{Attempt, Target};

/// A place that was asked.
type Place = (Scheme, u16, String);

/// Anonymous looks at one device, by place.
#[derive(Debug, Default)]
pub struct Asked {
    attempts: Vec<(Place, Attempt)>,
    banners: Vec<(Place, Option<HttpBanner>)>,
}

impl Asked {
    /// What this place shows to a probe; asked through the brake, once.
    pub(super) async fn attempt(
        &mut self,
        detector: &Detector,
        target: Target,
        errand: Errand,
    ) -> &Attempt {
        let place = place_of(&target);
        let known = self.attempts.iter().position(|(at, _)| *at == place);
        let index = match known {
            Some(index) => index,
            None => {
                let attempt = detector.brake.run(target, errand).await;
                self.attempts.push((place, attempt));
                self.attempts.len() - 1
            }
        };
        &self.attempts[index].1
    }

    /// The page at the root of this port; asked once.
    pub(super) async fn banner(&mut self, target: &Target) -> Option<&HttpBanner> {
        let place = place_of(target);
        let known = self.banners.iter().position(|(at, _)| *at == place);
        let index = match known {
            Some(index) => index,
            None => {
                let banner = http::banner(target).await;
                self.banners.push((place, banner));
                self.banners.len() - 1
            }
        };
        self.banners[index].1.as_ref()
    }
}

fn place_of(target: &Target) -> Place {
    (target.url.scheme, target.url.port, target.url.path.clone())
}
