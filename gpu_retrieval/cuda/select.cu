// Which places can be among the k best, their final scores, and their order.

constexpr int BINS = 2048;
constexpr int A_WARP = 8;

// Ascending as the float is.
__device__ inline u32 ordered(float value) {
    u32 bits = __float_as_uint(value);
    return bits >> 31 ? ~bits : bits | 0x80000000;
}

// 64 bins a lane, each lane's in banks of their own.
__device__ inline int slot_of(int bin) { return bin + bin / 64; }

// The bin, from the top, in which `*left` values are reached; `*left` becomes how many of them lie in that bin.
// -1 where all bins together hold fewer. One warp; all lanes return the same.
__device__ inline int bin_of(const u32* bins, u32* left) {
    int lane = threadIdx.x % 32, top = BINS - 1 - 64 * lane;
    u32 own = 0;
    for (int i = 0; i < 64; i++) own += bins[slot_of(top - i)];
    u32 upto = own;
    for (int apart = 1; apart < 32; apart *= 2) {
        u32 before = __shfl_up_sync(WHOLE_WARP, upto, apart);
        if (lane >= apart) upto += before;
    }
    u32 reached = __ballot_sync(WHOLE_WARP, upto >= *left);
    if (!reached) return -1;
    int owner = __ffs(reached) - 1, bin = top;
    u32 still = *left - (upto - own);
    if (lane == owner)
        for (; bins[slot_of(bin)] < still; bin--) still -= bins[slot_of(bin)];
    *left = __shfl_sync(WHOLE_WARP, still, owner);
    return __shfl_sync(WHOLE_WARP, bin, owner);
}

// limits[q]: no score of a job among the k best of query q is below it, when what is in `values` and what is
// compared with it are each within error[q] of the final score. Values of the query: counts[q] from offsets[q] on,
// or, where `offsets` is null, as many from q * capacity on, no more than the capacity. Where values abound, up to
// `most_fold` neighbours count as one, the greatest. Two rounds of 11 bits give a bound just below the k-th greatest.
// `best_keys` (queries, k) hold the final keys so far, NO_KEY where there are fewer.
// A block a query; the first query is `first_query`.
KERNEL(1024) void limit_scores(const float* values, const i64* offsets, const u32* counts, i64 capacity,
                               int most_fold, int k, const double* error, const u64* best_keys, int first_query,
                               float* limits) {
    __shared__ u32 bins[BINS + BINS / 64];
    __shared__ int found[2];
    int query = first_query + blockIdx.x;
    i64 n = min((i64)counts[query], capacity), fold = 1;
    while (fold < most_fold && n >= 8ll * k * fold) fold *= 2;
    i64 n_folded = (n + fold - 1) / fold;
    const float* own = values + (offsets ? offsets[query] : query * capacity);
    u32 left = k;
    found[0] = found[1] = 0;
    for (int round = 0; round < 2 && found[0] >= 0; round++) {
        __syncthreads();
        for (int i = threadIdx.x; i < BINS + BINS / 64; i += blockDim.x) bins[i] = 0;
        __syncthreads();
        for (i64 i = threadIdx.x; i < n_folded; i += blockDim.x) {
            float value = NOTHING;
            for (i64 at = i * fold; at < min((i + 1) * fold, n); at++) value = fmaxf(value, own[at]);
            u32 bits = ordered(value);
            if (value > NOTHING && (round == 0 || bits >> 21 == found[0]))
                atomicAdd(bins + slot_of(bits >> (round == 0 ? 21 : 10) & (BINS - 1)), 1u);
        }
        __syncthreads();
        if (threadIdx.x < 32) {
            int bin = bin_of(bins, &left);
            if (threadIdx.x == 0) found[round] = bin;
        }
        __syncthreads();
    }
    if (threadIdx.x) return;
    double limit = NOTHING;
    if (found[0] >= 0) {
        u32 bits = (u32)found[0] << 21 | (u32)found[1] << 10;
        limit = __uint_as_float(bits >> 31 ? bits & 0x7fffffff : ~bits) - 2 * error[query];
    }
    u64 worst = best_keys[(query + 1ll) * k - 1];
    if (worst != NO_KEY) limit = fmax(limit, widen(key_bits(worst)) - error[query]);
    // Away from zero by more than what a device that flushes subnormals can lose.
    limits[query] = __double2float_rd(limit - 0x1p-125);
}

// The final score of query and job: Σ q_i v_i in float64, halves added to halves, then the prior, rounded once.
// Must match `final_score_bits` in scan.py. `products` (d,) is the warp's own.
__device__ inline u32 final_bits(const u32* query, const u32* job, const u32* prior, int d, double* products) {
    int lane = threadIdx.x % 32;
    for (int i = lane; i < d; i += 32) products[i] = widen(query[i]) * widen(job[i]);
    __syncwarp();
    for (int left = d; left > 1; left -= left / 2) {
        int half = left / 2;
        for (int i = lane; i < half; i += 32) products[i] += products[left - half + i];
        __syncwarp();
    }
    double score = products[0];
    __syncwarp();
    return narrow(prior ? score + widen(*prior) : score);
}

// Appends to keys (batch, key_capacity) the final key of each job found for the query whose score is not below the
// limit. `n_keys` (batch,) counts past the capacity. `vectors` (rows, d), `queries` (batch, d) and `prior` (rows,)
// are bits of float32, `id_ranks` (rows,).
// blockIdx.x a query, counted from `first_query`. A warp takes some at a time, few, so that few queries keep many
// warps busy: a lane looks at one, then all lanes score those that are left.
KERNEL(256) void score_found(const u32* n_found, const int* found_rows, const float* found_scores,
                             i64 capacity, const float* limits, const u32* vectors, const u32* queries,
                             const u32* prior, const u32* id_ranks, int d, int first_query, i64 key_capacity,
                             u32* n_keys, u64* keys) {
    DYNAMIC_SHARED(double, products);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, n_warps = blockDim.x / 32;
    i64 query = first_query + blockIdx.x, n = min((i64)n_found[query], capacity);
    for (i64 at = (blockIdx.y * n_warps + warp) * A_WARP; at < n; at += (i64)gridDim.y * n_warps * A_WARP) {
        i64 place = query * capacity + at + lane;
        bool looks = lane < A_WARP && at + lane < n;
        int own_row = looks && found_scores[place] >= limits[query] ? found_rows[place] : -1;
        u32 own_bits = 0, kept = __ballot_sync(WHOLE_WARP, own_row >= 0), slot = 0;
        for (u32 left = kept; left; left &= left - 1) {
            int of = __ffs(left) - 1;
            i64 row = __shfl_sync(WHOLE_WARP, own_row, of);
            u32 bits = final_bits(queries + query * d, vectors + row * d, prior ? prior + row : nullptr, d,
                                  products + warp * d);
            if (lane == of) own_bits = bits;
        }
        if (lane == 0) slot = atomicAdd(n_keys + query, (u32)__popc(kept));
        slot = __shfl_sync(WHOLE_WARP, slot, 0) + __popc(kept & ((1u << lane) - 1));
        if (own_row >= 0 && slot < key_capacity) keys[query * key_capacity + slot] = score_key(own_bits, id_ranks[own_row]);
    }
}

// Puts each of a query's keys at its rank among them into best_keys (batch, k): keys of a query differ, so that a
// key's rank is how many are smaller. Sets `failed` where a capacity was too small for what was found.
// blockIdx.x a query; a thread a key.
KERNEL(256) void rank_keys(const u64* keys, const u32* n_keys, i64 key_capacity, const u32* n_found,
                           i64 capacity, int k, int first_query, u64* best_keys, u8* failed) {
    __shared__ u64 part[256];
    i64 query = first_query + blockIdx.x, n = min((i64)n_keys[query], key_capacity);
    const u64* own = keys + query * key_capacity;
    if (n_keys[query] > key_capacity || n_found[query] > capacity) failed[query] = 1;
    for (i64 first = blockIdx.y * 256; first < n; first += gridDim.y * 256) {
        u64 key = first + threadIdx.x < n ? own[first + threadIdx.x] : NO_KEY;
        i64 rank = 0;
        for (i64 from = 0; from < n; from += 256) {
            __syncthreads();
            part[threadIdx.x] = from + threadIdx.x < n ? own[from + threadIdx.x] : NO_KEY;
            __syncthreads();
            for (int i = 0; i < 256; i++) rank += part[i] < key;
        }
        if (key != NO_KEY && rank < k) best_keys[query * k + rank] = key;
    }
}

// Begins each query's keys (n, key_capacity) with the k best so far, NO_KEY among them where there are fewer.
KERNEL(256) void keep_keys(const u64* best_keys, int n, int k, i64 key_capacity, u32* n_keys, u64* keys) {
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < (i64)n * k; i += (i64)gridDim.x * blockDim.x) {
        i64 query = i / k, place = i % k;
        keys[query * key_capacity + place] = best_keys[i];
        if (place == 0) n_keys[query] = k;
    }
}

// Ids and scores of n keys: -1 and -inf for NO_KEY. `sorted_ids` by rank.
KERNEL(256) void decode_keys(const u64* keys, i64 n, const i64* sorted_ids, i64* ids, u32* scores) {
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) {
        u64 key = keys[i];
        ids[i] = key == NO_KEY ? -1 : sorted_ids[(u32)key];
        scores[i] = key == NO_KEY ? 0xff800000 : key_bits(key);
    }
}
