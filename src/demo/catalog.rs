//! The shop's shelves: what the demo sells.

/// One article. Prices are whole yen.
pub struct Article {
    pub sku: &'static str,
    pub name: &'static str,
    pub category: &'static str,
    pub cost_yen: i64,
    pub price_yen: i64,
    /// How many stand in the shop after a delivery.
    pub full_stock: i64,
    pub min_stock: i64,
    /// How often it is bought, next to the others.
    pub popularity: u32,
    pub weight_g: u32,
}

/// What every SKU of the demo begins with, so that its items are told from real ones at a glance.
pub const SKU_PREFIX: &str = "DEMO-";

#[allow(clippy::too_many_arguments, reason = "a table row")]
const fn article(
    sku: &'static str,
    name: &'static str,
    category: &'static str,
    [cost_yen, price_yen]: [i64; 2],
    [full_stock, min_stock]: [i64; 2],
    popularity: u32,
    weight_g: u32,
) -> Article {
    Article { sku, name, category, cost_yen, price_yen, full_stock, min_stock, popularity, weight_g }
}

const DRINKS: &str = "Drinks";
const BENTO: &str = "Bento";
const BAKERY: &str = "Bakery";
const SNACKS: &str = "Snacks";
const FRESH: &str = "Fresh food";
const HOME: &str = "Household";
const PAPER: &str = "Stationery";
const TECH: &str = "Electronics";

/// The columns: SKU, name, category, [cost, price], [full, minimum], popularity, grams. A few have so little room for
/// so many buyers that they sell out before the next delivery.
pub const ARTICLES: &[Article] = &[
    article("DEMO-TEA-500", "緑茶 500ml · Green tea", DRINKS, [62, 148], [160, 30], 14, 520),
    article("DEMO-TEA-BRL", "麦茶 600ml · Barley tea", DRINKS, [58, 138], [120, 25], 8, 620),
    article("DEMO-WATER-550", "天然水 550ml · Spring water", DRINKS, [38, 108], [180, 30], 12, 570),
    article("DEMO-COFFEE-BLK", "缶コーヒー ブラック · Canned coffee, black", DRINKS, [55, 130], [140, 25], 11, 200),
    article("DEMO-COFFEE-LAT", "カフェラテ · Caffè latte", DRINKS, [78, 178], [60, 15], 7, 240),
    article("DEMO-SODA-LMN", "レモンサイダー · Lemon soda", DRINKS, [60, 145], [80, 15], 5, 520),
    article("DEMO-MILK-1L", "牛乳 1L · Milk", DRINKS, [150, 248], [40, 10], 4, 1040),
    article("DEMO-ONIGIRI-UME", "おにぎり 梅 · Rice ball, plum", BENTO, [62, 138], [90, 20], 13, 110),
    article("DEMO-ONIGIRI-SAKE", "おにぎり 鮭 · Rice ball, salmon", BENTO, [74, 168], [90, 20], 15, 115),
    article("DEMO-ONIGIRI-TUNA", "おにぎり ツナマヨ · Rice ball, tuna", BENTO, [70, 158], [100, 20], 16, 115),
    article("DEMO-BENTO-KARAAGE", "からあげ弁当 · Fried chicken box", BENTO, [260, 598], [35, 8], 9, 430),
    article("DEMO-BENTO-MAKUNOUCHI", "幕の内弁当 · Makunouchi box", BENTO, [300, 680], [25, 6], 6, 460),
    article("DEMO-BENTO-CURRY", "カツカレー · Cutlet curry", BENTO, [290, 650], [20, 5], 5, 520),
    article("DEMO-SAND-EGG", "たまごサンド · Egg sandwich", BENTO, [110, 258], [45, 10], 9, 140),
    article("DEMO-SAND-HAM", "ハムチーズサンド · Ham and cheese sandwich", BENTO, [125, 288], [40, 10], 7, 150),
    article("DEMO-SALAD-CAE", "シーザーサラダ · Caesar salad", FRESH, [140, 328], [25, 6], 4, 180),
    article("DEMO-MELONPAN", "メロンパン · Melon bread", BAKERY, [52, 138], [24, 6], 10, 95),
    article("DEMO-CROISSANT", "クロワッサン · Croissant", BAKERY, [60, 158], [30, 8], 6, 60),
    article("DEMO-SHOKUPAN-6", "食パン 6枚切 · Bread, six slices", BAKERY, [88, 178], [30, 8], 3, 380),
    article("DEMO-ANPAN", "あんパン · Red bean bun", BAKERY, [50, 128], [36, 8], 5, 100),
    article("DEMO-CHIPS-SALT", "ポテトチップス うすしお · Potato chips, salted", SNACKS, [75, 168], [60, 12], 5, 65),
    article("DEMO-CHOCO-BAR", "板チョコ · Chocolate bar", SNACKS, [62, 138], [70, 12], 5, 50),
    article("DEMO-SENBEI", "せんべい · Rice crackers", SNACKS, [95, 218], [40, 8], 2, 120),
    article("DEMO-PUDDING", "なめらかプリン · Custard pudding", SNACKS, [80, 198], [30, 8], 6, 110),
    article("DEMO-ICE-MATCHA", "抹茶アイス · Matcha ice cream", SNACKS, [98, 238], [50, 10], 5, 130),
    article("DEMO-BANANA-3", "バナナ 3本 · Bananas, three", FRESH, [80, 178], [30, 8], 4, 360),
    article("DEMO-APPLE", "りんご · Apple", FRESH, [70, 158], [40, 10], 3, 300),
    article("DEMO-EGGS-10", "卵 10個 · Eggs, ten", FRESH, [170, 288], [25, 8], 3, 640),
    article("DEMO-TOFU", "絹豆腐 · Silken tofu", FRESH, [45, 98], [30, 8], 3, 350),
    article("DEMO-YOGURT", "ヨーグルト · Yogurt", FRESH, [85, 178], [36, 8], 4, 400),
    article("DEMO-TISSUE-5", "ティッシュ 5箱 · Tissues, five boxes", HOME, [210, 398], [24, 6], 1, 900),
    article("DEMO-MASK-30", "マスク 30枚 · Face masks, 30", HOME, [240, 498], [30, 6], 2, 150),
    article("DEMO-UMBRELLA", "ビニール傘 · Clear umbrella", HOME, [280, 698], [18, 5], 2, 420),
    article("DEMO-TOOTHBRUSH", "歯ブラシ · Toothbrush", HOME, [70, 198], [40, 8], 1, 20),
    article("DEMO-PEN-BLK", "ボールペン 黒 · Ballpoint pen, black", PAPER, [45, 120], [50, 10], 2, 12),
    article("DEMO-NOTE-A5", "ノート A5 · Notebook, A5", PAPER, [90, 220], [35, 8], 1, 130),
    article("DEMO-BATTERY-AA4", "単3電池 4本 · AA batteries, four", TECH, [190, 428], [30, 6], 2, 96),
    article("DEMO-CABLE-USBC", "USB-Cケーブル · USB-C cable", TECH, [420, 1280], [15, 4], 2, 40),
    article("DEMO-EARPHONES", "有線イヤホン · Wired earphones", TECH, [600, 1580], [10, 3], 1, 30),
    article("DEMO-POWERBANK", "モバイルバッテリー · Power bank", TECH, [1450, 2980], [8, 3], 1, 210),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_article_passes_the_servers_rules() {
        let mut skus = HashSet::new();
        for article in ARTICLES {
            assert!(article.sku.starts_with(SKU_PREFIX) && article.sku.len() <= 50, "{}", article.sku);
            assert!(article.sku.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-'));
            assert!(!article.name.contains(['<', '>']));
            assert!(0 < article.cost_yen && article.cost_yen < article.price_yen, "{}", article.sku);
            assert!(article.min_stock < article.full_stock, "{}", article.sku);
            assert!(skus.insert(article.sku), "{} twice", article.sku);
        }
        assert_eq!(ARTICLES.len(), 40);
    }
}
