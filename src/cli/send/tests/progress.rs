use super::*;

#[test]
fn the_line_shows_how_far_it_is_and_what_went_wrong() {
    let tally = Tally { acknowledged: 500, refused: 100, ..Tally::default() };
    let expected = "[============            ]  50 %  500 of 1,000 spans acknowledged, 12,345 a second, 100 refused";
    assert_eq!(line(&tally, Some(1_000), 12_345), expected);
    assert_eq!(line(&Tally::default(), None, 0), "0 spans acknowledged, 0 a second");
}
