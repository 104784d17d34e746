// What the kernels share: how a search is cut, and numbers that keep every bit.
//
// Places are positions in the list of rows that a round of the search looks at: place p is row `rows[p]` of the
// segment, or row p itself where `rows` is null. A tile is up to 16 queries against a span of places. 32
// neighbouring places of a tile are a group: one word of a query's mask, one float32 of its best score. A block
// takes an item, 32 groups of one tile, so that a grid is as large as what is drawn and not as the index.

constexpr int TILE_QUERIES = 16;
constexpr int GROUP = 32;
constexpr int ITEM_GROUPS = 32;
constexpr u64 NO_KEY = ~0ull;
#define NOTHING __uint_as_float(0xff800000)  // -inf

// Queries [query, query + n_queries) of the batch against places [place, place + n_places). Group g of the
// tile's i-th query lies at `word + i * n_groups + g`. The tile's first item is `item` of the launch.
struct Tile {
    i64 query, n_queries, place, n_places, word, n_groups, item;
};

// The last of `n` ascending numbers, `stride` apart, that is not above `value`; the first is not above it.
__device__ inline int last_not_above(const i64* numbers, int n, int stride, i64 value) {
    int low = 0, high = n;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (numbers[(i64)middle * stride] <= value) low = middle; else high = middle;
    }
    return low;
}

__device__ inline Tile tile_of(const Tile* tiles, int n_tiles, i64 item) {
    return tiles[last_not_above(&tiles->item, n_tiles, sizeof(Tile) / sizeof(i64), item)];
}

__device__ inline int row_at(const int* rows, const Tile& tile, i64 place) {
    return rows ? rows[tile.place + place] : (int)(tile.place + place);
}

// float32 as float64, from its bits: subnormals are kept.
__device__ inline double widen(u32 bits) {
    u64 sign = (u64)(bits >> 31) << 63;
    u32 exponent = (bits >> 23) & 0xff, mantissa = bits & 0x7fffff;
    if (exponent == 0) {
        double tiny = (double)mantissa * 0x1p-149;
        return sign ? -tiny : tiny;
    }
    return __longlong_as_double(sign | (u64)(exponent + 896) << 52 | (u64)mantissa << 29);
}

// Bits of float64 rounded once to float32, half to even, subnormal results included; -0.0 becomes 0.0.
// Must match `narrow_bits` in backend.py.
__device__ inline u32 narrow(double score) {
    double steps = rint(fabs(score) * 0x1p149);
    u32 magnitude = steps < 0x1p23 ? (u32)steps : __float_as_uint(__double2float_rn(score)) & 0x7fffffff;
    return score < 0 && magnitude ? magnitude | 0x80000000 : magnitude;
}

// Smaller is better: the score's bits turned about, then the rank of the id. Must match `score_keys` in topk.py.
__device__ inline u64 score_key(u32 bits, u32 id_rank) {
    u32 ascending = bits >> 31 ? ~bits : bits | 0x80000000;
    return (u64)~ascending << 32 | id_rank;
}

__device__ inline u32 key_bits(u64 key) {
    u32 ascending = ~(u32)(key >> 32);
    return ascending >> 31 ? ascending & 0x7fffffff : ~ascending;
}
