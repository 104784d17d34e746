// Which jobs each query is compared with: rows drawn from postings, and the whole filter checked on each.

// Sets of terms as bits: bit c of a set is set where the set holds the c-th term of its column. `places` (n,) are the
// bits to set of all sets of a filter, one set's words after another's; `words` start at zero.
KERNEL(256) void set_bits(const i64* places, i64 n, u32* words) {
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x)
        atomicOr(words + (places[i] >> 5), 1u << (places[i] & 31));
}

// Postings from `posting` on fill the places from `place` on; they are those of the term `code`, drawn for `set`.
struct Span {
    i64 place, posting, set, code;
};

// rows[p - from] for places [from, from + n): the drawn row, or -1 where the same set has drawn the row already
// by a smaller term. `starts` (rows + 1,) and `codes` are the column the other way round, null where every job
// has one term, so that nothing is drawn twice.
KERNEL(256) void draw(const Span* spans, int n_spans, i64 from, i64 n, const int* postings, const i64* starts,
                      const int* codes, const u32* sets, i64 n_words, int* rows) {
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) {
        i64 place = from + i;
        Span span = spans[last_not_above(&spans->place, n_spans, sizeof(Span) / sizeof(i64), place)];
        int row = postings[span.posting + place - span.place];
        if (starts) {
            const u32* set = sets + span.set * n_words;
            i64 at = starts[row];
            while (!(set[codes[at] / 32] >> codes[at] % 32 & 1)) at++;
            if (codes[at] != span.code) row = -1;
        }
        rows[i] = row;
    }
}

enum Op { ANY = 0, NONE = 1, ALL = 2, RANGE = 3, AND = 4, OR = 5 };

// A clause of the filter, its parts before it. `binds` (queries,) is null where it binds every query; for one
// that it does not bind it counts as `unbound`. Terms: job r carries `codes[starts[r] : starts[r + 1]]`, or
// codes[r] alone where `starts` is null; query q asks for the set `of_query[q]`, which has `asked` terms. Ranges:
// codes[r] is the rank of the job's number, and `low`, `high` (queries,) the ranks that pass.
struct Node {
    i64 op, n_parts, unbound, missing_passes, missing_rank, n_words;
    const u8* binds;
    const int* codes;
    const i64* starts;
    const u32* sets;
    const int* of_query;
    const int* asked;
    const int* low;
    const int* high;
};

__device__ inline bool has_terms(const Node& node, int query, int row) {
    int set = node.of_query[query], n_found = 0;
    const u32* bits = node.sets + set * node.n_words;
    i64 first = node.starts ? node.starts[row] : row, last = node.starts ? node.starts[row + 1] : row + 1;
    for (i64 at = first; at < last; at++) n_found += bits[node.codes[at] / 32] >> node.codes[at] % 32 & 1;
    if (node.op == NONE) return n_found == 0;
    if (node.missing_passes && first == last && node.asked[set] > 0) return true;
    return node.op == ANY ? n_found > 0 : n_found == node.asked[set];
}

__device__ inline bool in_range(const Node& node, int query, int row) {
    int rank = node.codes[row];
    return (rank >= node.low[query] && rank <= node.high[query]) || (node.missing_passes && rank == node.missing_rank);
}

// The filter of a query on one job: clauses in the order in which they are written out, their answers on a stack
// of bits. A filter without a clause passes.
__device__ inline bool evaluate(const Node* nodes, int n_nodes, int query, int row) {
    u32 stack = 1;
    for (int i = 0; i < n_nodes; i++) {
        const Node& node = nodes[i];
        u32 parts = (1u << node.n_parts) - 1, answer;
        if (node.binds && !node.binds[query]) answer = node.unbound;
        else if (node.op == AND) answer = (stack & parts) == parts;
        else if (node.op == OR) answer = (stack & parts) != 0;
        else if (node.op == RANGE) answer = in_range(node, query, row);
        else answer = has_terms(node, query, row);
        stack = stack >> node.n_parts << 1 | answer;
    }
    return stack & 1;
}

__device__ inline bool is_shut_out(const i64* starts, const int* rows, int query, int row) {
    i64 low = starts[query], last = starts[query + 1], high = last;
    while (low < high) {
        i64 middle = (low + high) / 2;
        if (rows[middle] < row) low = middle + 1; else high = middle;
    }
    return low < last && rows[low] == row;
}

// mask[word] of every group of every tile: bit j says that the group's j-th place holds a job that passes the
// query's filter, is alive and is not shut out. Adds what passes to n_matches (queries,). `alive` (rows,) may be
// null; query q shuts out rows[starts[q] : starts[q + 1]], ascending, unless `shut_starts` is null.
// A block an item; a warp a group, a lane a place. What passed is added up within the block first: blocks of a search
// of one query would wait in line for the one number that they all add to.
KERNEL(256) void passing(const Tile* tiles, int n_tiles, const int* rows, const Node* nodes, int n_nodes,
                         const u8* alive, const i64* shut_starts, const int* shut_rows, u32* mask,
                         u32* n_matches) {
    __shared__ u32 in_block[TILE_QUERIES];
    Tile tile = tile_of(tiles, n_tiles, blockIdx.x);
    int lane = threadIdx.x % 32, n_passed = 0;
    if (threadIdx.x < TILE_QUERIES) in_block[threadIdx.x] = 0;
    __syncthreads();
    i64 first = (blockIdx.x - tile.item) * ITEM_GROUPS, stop = min(first + ITEM_GROUPS, tile.n_groups);
    for (i64 group = first + threadIdx.x / 32; group < stop; group += blockDim.x / 32) {
        i64 place = group * GROUP + lane;
        int row = place < tile.n_places ? row_at(rows, tile, place) : -1;
        if (row >= 0 && alive && !alive[row]) row = -1;
        for (int i = 0; i < tile.n_queries; i++) {
            int query = tile.query + i;
            bool passes = row >= 0 && evaluate(nodes, n_nodes, query, row);
            if (passes && shut_starts) passes = !is_shut_out(shut_starts, shut_rows, query, row);
            u32 word = __ballot_sync(WHOLE_WARP, passes);
            if (lane == 0) mask[tile.word + i * tile.n_groups + group] = word;
            if (lane == i) n_passed += __popc(word);
        }
    }
    if (n_passed) atomicAdd(in_block + lane, (u32)n_passed);
    __syncthreads();
    if (threadIdx.x < tile.n_queries && in_block[threadIdx.x])
        atomicAdd(n_matches + tile.query + threadIdx.x, in_block[threadIdx.x]);
}
